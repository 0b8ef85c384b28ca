"""Every error that this package raises on purpose, as one tree.

::

    AkinonError
    ├── InvalidInput            what was asked for cannot be asked for; nothing was sent       permanent
    ├── ConnectionMissing       Airflow has no connection of this id, as far as it can see now
    ├── ApiError                the API did not give what was asked for
    │   ├── Rejected            400, 401, 403, 404 …: the API's own message                   permanent
    │   ├── Unavailable         5xx
    │   │   └── Throttled       429, or 503 with Retry-After
    │   ├── Unreachable         no answer: name not found, refused, reset, timed out
    │   │   └── UntrustedServer the server's certificate does not verify                      permanent
    │   ├── ProtocolError       an answer that is not the Audit Events API's
    │   │   ├── WrongServer     a refusal that is not, where the API has not answered before  permanent
    │   │   └── UnreadableRecord a record of an answer that is whole otherwise                permanent
    │   ├── RedirectRefused     a redirect that would take the key to another server          permanent
    │   └── UnrequestedEvent    a record outside the window or the filters that were asked    permanent
    ├── IncompleteWindow        the numbers do not prove that every event was read
    │   └── MeaninglessCount    what the API counts is not how many events it gives
    └── ArchiveError            what is stored in S3 is not, or may not become, what it should permanent
        ├── ForeignObject       it is not an export of this window, source and filters        permanent
        ├── ObjectAltered       its bytes are not those that its receipt tells                permanent
        ├── SourceChanged       the API gives stored events otherwise by now, or no longer    permanent
        ├── ObjectLocked        Object Lock cannot be had in this bucket                      permanent
        ├── UnconditionalWrites the store does not keep a task from replacing what is there   permanent
        ├── ObjectUnreadable    it is there, and S3 does not give it: it has to be restored   permanent
        └── ObjectChanged       it is not what was just written: somebody else writes there

*Permanent* means that the same request fails in the same way until somebody changes something; the Airflow
shells turn these into ``AirflowFailException`` (no further try), and let the others be retried.

Errors carry their data as attributes. No message holds the API key, or a character that moves a cursor or forges a
line. This module refuses to know Airflow.
"""

from __future__ import annotations

from typing import ClassVar

from airflow_provider_akinon.audit_events.foreign_text import shown


class AkinonError(Exception):
    """Base of every error of this package.

    ``permanent`` tells whether trying again without a change is pointless.
    """

    permanent: ClassVar[bool] = False

    def __init__(self, message: str = "") -> None:
        # Messages hold names and texts from the bucket, the API and users.
        super().__init__(shown(message, None))

    def __reduce__(self) -> tuple[object, ...]:
        # Arguments given by name would be lost on the way to another process.
        return (_restored, (type(self), self.args, self.__dict__))


def _restored(kind: type[AkinonError], args: tuple[object, ...], attributes: dict[str, object]) -> AkinonError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class InvalidInput(AkinonError, ValueError):
    """An argument or a field is wrong. The message names it, its value and what to change."""

    permanent = True


class ConnectionMissing(AkinonError):
    """Airflow has no connection called ``conn_id``, as far as it can see now: a secrets backend may have failed."""

    def __init__(self, message: str, *, conn_id: str) -> None:
        super().__init__(message)
        self.conn_id = conn_id


class ApiError(AkinonError):
    """The API did not give the answer to a request."""


class Rejected(ApiError):
    """The API refused the request: ``status`` is the HTTP status, ``detail`` its own message."""

    permanent = True

    def __init__(self, message: str, *, status: int, detail: str) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail


class Unavailable(ApiError):
    """The API answered with ``status`` 5xx."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class Throttled(Unavailable):
    """The API asked to slow down: ``retry_after`` in seconds, None where it did not say how long."""

    def __init__(self, message: str, *, status: int, retry_after: float | None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class Unreachable(ApiError):
    """No answer: the host name is unknown, the connection was refused or reset, or it timed out."""


class UntrustedServer(Unreachable):
    """The server's TLS certificate does not verify."""

    permanent = True


class ProtocolError(ApiError):
    """An answer that is not the Audit Events API's: HTML, truncated JSON, a missing ``count``."""


class WrongServer(ProtocolError):
    """A refusal with ``status`` 4xx that is not the API's own, from a server that has not answered as the API yet."""

    permanent = True

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class UnreadableRecord(ProtocolError):
    """A record that is no audit event, or no JSON, in an answer that is the API's: ``uuid`` where it has one."""

    permanent = True

    def __init__(self, message: str, *, uuid: str | None) -> None:
        super().__init__(message)
        self.uuid = uuid

    def asked_for(self, what: str) -> UnreadableRecord:
        """Return the same error, which says what was asked for, too."""
        return type(self)(f"{self} It came when {what} was asked for.", uuid=self.uuid)


class RedirectRefused(ApiError):
    """A redirect to another host, scheme or port. The key was not sent there."""

    permanent = True


class UnrequestedEvent(ApiError):
    """The API returned an event outside the window or the filters that were asked for."""

    permanent = True


class IncompleteWindow(AkinonError):
    """The numbers do not prove that every event of the window was read: ``expected`` against ``read``.

    ``slices`` are those that moved, each as its window, the events that the API counts in it, and those read.
    """

    def __init__(
        self, message: str, *, expected: int, read: int, slices: tuple[tuple[object, int, int], ...] = ()
    ) -> None:
        super().__init__(message)
        self.expected = expected
        self.read = read
        self.slices = slices


class MeaninglessCount(IncompleteWindow):
    """The API's count is not that of the events in the window, as it said more than once: it proves nothing."""


class ArchiveError(AkinonError):
    """An object in S3 is not as it should be, or contradicts the events that were read."""

    permanent = True


class ForeignObject(ArchiveError):
    """The object at the key is not an export of this window, source and filters."""


class ObjectAltered(ArchiveError):
    """The stored bytes are not those that their receipt tells, or are gone: nothing may be built on them."""


class SourceChanged(ArchiveError):
    """The API gives ``changed`` stored events otherwise by now, and ``vanished`` ones no longer. All is stored."""

    def __init__(self, message: str, *, changed: int, vanished: int) -> None:
        super().__init__(message)
        self.changed = changed
        self.vanished = vanished


class ObjectLocked(ArchiveError):
    """Object Lock is asked for, and cannot be had in this bucket."""


class UnconditionalWrites(ArchiveError):
    """The store does not honour ``If-None-Match: *``: a task could replace what another one stored meanwhile."""


class ObjectUnreadable(ArchiveError):
    """The object is there, and S3 does not give its bytes: its storage class wants it restored first."""


class ObjectChanged(ArchiveError):
    """The object is not what was written a moment ago; two exports of the same window may run at once."""

    permanent = False
