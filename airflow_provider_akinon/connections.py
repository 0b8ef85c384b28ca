"""Gets the connection whose id an operator's argument gives, or raises an error that names the argument.

This module masks nothing, and looks into no field.
"""

from __future__ import annotations

from airflow_provider_akinon.audit_events.errors import ConnectionMissing, InvalidInput
from airflow_provider_akinon.version_compat import AirflowNotFoundException, BaseHook, Connection


def get_connection(argument: str, conn_id: object) -> Connection:
    """Return the connection called ``conn_id``, which the ``argument`` of a task names.

    :raises InvalidInput: ``conn_id`` is no text, or empty.
    :raises ConnectionMissing: Airflow has no such connection, as far as it can see now.
    """
    if not isinstance(conn_id, str) or not conn_id.strip():
        raise InvalidInput(f"{argument}={conn_id!r} is not the id of a connection; give one, as text")
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ConnectionMissing(
            f"{argument}={conn_id!r}: Airflow has no connection of this id. Make it under Admin → Connections, in "
            f"the environment as AIRFLOW_CONN_{conn_id.upper()}, or in the secrets backend; or correct {argument}. "
            "Where it is there, a secrets backend failed: the lines above tell, and a later try may succeed",
            conn_id=conn_id,
        ) from None
