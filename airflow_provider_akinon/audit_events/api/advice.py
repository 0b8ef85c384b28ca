"""Says what to change where the API refuses a request, in the same words for a task's error and for the form's Test.

This module refuses to guess beyond what the status and the connection tell, and shows no value that may be secret.
"""

from __future__ import annotations

from airflow_provider_akinon.audit_events.api.settings import Extra, Settings


def account_name(settings: Settings) -> str:
    """Return the name that messages give to a connection's part of the API."""
    remote_id = settings.extra.remote_id
    return settings.api_path if remote_id is None else f"remote id {remote_id}"


def on_refusal(settings: Settings, status: int, *, of_event: bool) -> str:
    """Return what to check after the API's own refusal with ``status``, empty where only its message tells.

    :param of_event: whether one event was asked for, by its uuid.
    """
    if status in (401, 403):
        is_default = settings.extra.auth_scheme == Extra().auth_scheme
        return (
            "The API refuses the key. Check the API key, and the authorization scheme: it is "
            f"{'the default' if is_default else 'another one'} now; Akinon's APIs take 'Token', some take the "
            "bare key ('bare-key')"
        )
    if status == 404:
        here = f"{settings.base_url} has {'no such event, or ' if of_event else ''}no {account_name(settings)}"
        return (
            f"{here} for this key. Check {'the uuid, and ' if of_event else ''}the remote id: the number in the path "
            "of the API's base URL, or 'none' where that has no remote/…"
        )
    if status == 407:
        return "A proxy refuses its user name or password. Check 'proxies' in the connection's Extra, or HTTP_PROXY"
    return ""
