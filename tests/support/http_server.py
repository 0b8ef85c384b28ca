"""An HTTP server in threads of this process that answers as the API, and as others do.

It remembers what it was asked, so that a test sees what left the client, and what did not.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Answer:
    """What a server answers once."""

    status: int = 200
    body: bytes = b'{"count": 0, "next": null, "previous": null, "results": []}'
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    claimed_length: int | None = None
    """What Content-Length says, where it lies."""
    delay: float = 0
    """Seconds before the answer."""
    drip: float = 0
    """Seconds between the bytes of the body."""
    hang_up: bool = False


def page(count: int = 0, *records: str, **other: object) -> Answer:
    shown = {"count": count, "next": None, "previous": None, **other}
    return Answer(body=json.dumps(shown)[:-1].encode() + b', "results": [' + ", ".join(records).encode() + b"]}")


def problem(status: int, body: object, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json", **named})


HTML = Answer(body=b"<html>Bad gateway</html>", headers={"Content-Type": "text/html; charset=utf-8"})


@dataclass
class Request:
    """What a server was asked."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    at: float
    """When it came, in seconds of the monotonic clock."""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True, strict_parsing=True))

    @property
    def authorizations(self) -> list[str]:
        return [value for name, value in self.headers if name.lower() == "authorization"]


class Server:
    """A server on a port of 127.0.0.1 that gives one answer after another, and the last one ever after.

    An answer may be a function of the request. ``answers`` has those that are left; use the server in a ``with``.
    """

    def __init__(self, *answers: Answer | Callable[[Request], Answer], certificate: Path | None = None) -> None:
        self.requests: list[Request] = []
        self.answers = list(answers) or [Answer()]
        self.answered = 0
        """How many answers were given whole."""
        self._stopping = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self)

            do_HEAD = do_POST = do_CONNECT = do_GET  # noqa: N815 - http.server prescribes the names

            def log_message(self, *_: object) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """Say nothing: clients that break off are part of the tests."""

        self._listener = Listener(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._listener.socket = context.wrap_socket(
                self._listener.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._listener.server_address[1]
        self.scheme = "http" if certificate is None else "https"
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        request = Request(handler.command, handler.path, handler.headers.items(), time.monotonic())
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not isinstance(answer, Answer):
            answer = answer(request)
        self._stopping.wait(answer.delay)
        if answer.hang_up:
            return
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        length = len(answer.body) if answer.claimed_length is None else answer.claimed_length
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        if not answer.drip:
            handler.wfile.write(answer.body)
            self.answered += 1
            return
        for byte in answer.body:
            if self._stopping.wait(answer.drip):
                return
            handler.wfile.write(bytes([byte]))
        self.answered += 1


class RawServer:
    """A server on a port of 127.0.0.1 that says, byte for byte, what ``answer`` yields to each request.

    ``answer`` may be endless; a float in it is a pause of so many seconds. The connection ends with it. Use the
    server in a ``with``.
    """

    def __init__(self, answer: Callable[[], Iterable[bytes | float]]) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                if not (data := connection.recv(65536)):
                    return
                request += data
            self.requests.append(request)
            for piece in self.answer():
                if isinstance(piece, bytes):
                    connection.sendall(piece)
                elif self._stopping.wait(piece):
                    return


def free_port() -> int:
    """Return a port of 127.0.0.1 where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def write_certificate(path: Path) -> Path:
    """Write a certificate for 127.0.0.1 that nobody signed but itself, and its private key, to one file."""
    private_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private_key, hashes.SHA256())
    )
    secret = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    return path
