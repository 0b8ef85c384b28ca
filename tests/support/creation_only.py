"""A stand-in for an S3 whose bucket policy allows creation only.

SeaweedFS keeps bucket policies, but does not know the condition ``s3:if-none-match``. So this passes each request on
to a real SeaweedFS, but for those that a policy denies, which it answers as S3 does. It knows as much of policies as
the one in the documentation needs, and is stricter in one thing: it refuses every DELETE, but for that of an upload
in parts.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

_DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied by a policy</Message></Error>"
_NOT_PASSED_ON = ("connection", "expect", "transfer-encoding", "content-length")


class CreationOnly:
    """Passes requests on to the S3 at ``target``, a URL, but for what ``policy`` denies; use it in a ``with``."""

    def __init__(self, target: str, policy: Mapping[str, Any]) -> None:
        self._target = urlsplit(target).netloc
        self._statements = policy["Statement"]
        self.passed: list[str] = []
        """The actions of the requests that were passed on, with `` conditional`` where the header was there."""
        self.denied: list[str] = []
        """The actions of those that were not."""
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # clients wait for "100 Continue"

            def do_GET(self) -> None:
                stand_in._serve(self)

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - http.server prescribes the names

            def log_message(self, *_: object) -> None:
                pass

        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._listener.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._listener.server_address[1]}"
        self._thread = threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = _body(handler)
        action, creates = _action(handler.command, handler.path)
        headers = dict(handler.headers.items())
        context = {"s3:if-none-match": handler.headers.get("If-None-Match")}
        if action == "s3:PutObject":
            context["s3:ObjectCreationOperation"] = "true" if creates else "false"
        if refusal := self._refusal(handler, action, context):
            self.denied.append(action)
            status, text = refusal
            _answer(handler, status, {"Content-Type": "application/xml"}, text)
            return
        self.passed.append(f"{action} conditional" if context["s3:if-none-match"] else action)
        connection = http.client.HTTPConnection(self._target, timeout=60)
        try:
            connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            # With the client's own Host, which its signature covers.
            for name, value in headers.items():
                if name.lower() not in _NOT_PASSED_ON:
                    connection.putheader(name, value)
            if body or handler.command in ("PUT", "POST"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            _answer(handler, answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def _refusal(
        self, handler: BaseHTTPRequestHandler, action: str, context: Mapping[str, str | None]
    ) -> tuple[int, bytes] | None:
        """Return status and body of the answer to a request that is not passed on."""
        denied = handler.command == "DELETE" and action != "s3:AbortMultipartUpload"
        return (403, _DENIED) if denied or self._denies(action, context) else None

    def _denies(self, action: str, context: Mapping[str, str | None]) -> bool:
        return any(_is_denied_by(statement, action, context) for statement in self._statements)


def _action(method: str, target: str) -> tuple[str, bool]:
    """Return the action of the policy that a request needs, and whether it makes an object visible."""
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    is_object = "/" in urlsplit(target).path.strip("/")
    if method == "DELETE" and "uploadId" in query:
        return "s3:AbortMultipartUpload", False
    if method == "DELETE":
        return ("s3:DeleteObjectVersion" if "versionId" in query else "s3:DeleteObject"), False
    if method == "POST" and "delete" in query:
        return "s3:DeleteObject", False
    if is_object and method == "PUT":
        return "s3:PutObject", "partNumber" not in query
    if is_object and method == "POST":
        return "s3:PutObject", "uploadId" in query
    return "s3:GetObject", False


def _is_denied_by(statement: Mapping[str, Any], action: str, context: Mapping[str, str | None]) -> bool:
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*"), "no other statement is known here"
    actions = statement["Action"]
    if action not in ([actions] if isinstance(actions, str) else actions):
        return False
    for operator, wanted in statement.get("Condition", {}).items():
        for name, value in wanted.items():
            found = context.get(name)
            if operator == "Null":
                holds = (found is None) is (value == "true")
            else:
                assert operator == "Bool", f"the condition {operator} is not known here"
                holds = found == value
            if not holds:
                return False
    return True


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    """Return a request's body, as it came but for the chunks of its transfer."""
    if "chunked" not in handler.headers.get("Transfer-Encoding", ""):
        return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    body = b""
    while size := int(handler.rfile.readline().partition(b";")[0], 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body


def _answer(handler: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes) -> None:
    handler.send_response_only(status)
    named = {name.lower(): value for name, value in headers.items()}
    for name, value in named.items():
        if name not in ("connection", "transfer-encoding", "content-length"):
            handler.send_header(name, value)
    length = named.get("content-length", "0") if handler.command == "HEAD" else str(len(body))
    if status not in (204, 304):
        handler.send_header("Content-Length", length)
    handler.end_headers()
    if handler.command != "HEAD" and status != 304:
        handler.wfile.write(body)
