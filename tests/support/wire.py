"""A wire on loopback between a client and a server, for what only shows on the way: which requests pass, TLS in
front of a plain server, and a connection that stands still in the middle of an upload.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import urlsplit

_REQUEST_LINE = re.compile(rb"(?:GET|HEAD|PUT|POST|DELETE) \S+(?= HTTP/1\.1\r\n)")


class Wire:
    """Passes bytes on to the server at ``target``, a URL; use it in a ``with``.

    With ``tls`` it speaks TLS to clients. It stands still once more than ``stall_after`` bytes of the clients came,
    or where they send what ``stall_at`` matches for the ``occurrence``-th time: what comes before that has passed.
    `go_on` ends that.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: ssl.SSLContext | None = None,
        stall_after: int | None = None,
        stall_at: bytes | None = None,
        occurrence: int = 1,
    ) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._tls = tls
        self._stall_after = stall_after
        self._stall_at = None if stall_at is None else re.compile(stall_at)
        self._left = occurrence
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closing = threading.Event()
        self._go_on = threading.Event()
        self._passed = 0
        self._threads = [threading.Thread(target=self._accept)]
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.stalled = threading.Event()
        """Set once the wire stands still."""
        self.connections = 0
        self.requests: list[str] = []
        """The method and path of each request, in the order in which they passed."""
        self.sent = bytearray()
        """All that the clients sent and the wire passed on."""

    def go_on(self) -> None:
        """Pass on what was held."""
        self._go_on.set()

    def __enter__(self) -> Wire:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._go_on.set()
        # Wakes the thread that accepts, which closing alone would not.
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            client.settimeout(10)
            if self._tls is None:
                self._pass_on(client)
            else:
                with self._tls.wrap_socket(client, server_side=True) as secured:
                    self._pass_on(secured)

    def _pass_on(self, client: socket.socket) -> None:
        with socket.create_connection(self._target) as server:
            while not self._closing.is_set():
                held = isinstance(client, ssl.SSLSocket) and client.pending()
                for source in [client] if held else select.select([client, server], [], [], 0.1)[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client:
                        data = self._hold(data, server)
                        self._look_at(data)
                    (server if source is client else client).sendall(data)

    def _hold(self, data: bytes, server: socket.socket) -> bytes:
        """Stand still where it is time to, with what comes before passed on; return what is still to pass."""
        for found in self._stall_at.finditer(data) if self._stall_at is not None else ():
            self._left -= 1
            if self._left == 0:
                before, data = data[: found.start()], data[found.start() :]
                self._look_at(before)
                server.sendall(before)
                self._stand_still()
                break
        return data

    def _stand_still(self) -> None:
        self.stalled.set()
        self._go_on.wait()
        if self._closing.is_set():
            raise ConnectionAbortedError("what was held is cut off")

    def _look_at(self, data: bytes) -> None:
        self.requests += [line.decode() for line in _REQUEST_LINE.findall(data)]
        self.sent += data
        self._passed += len(data)
        if self._stall_after is not None and self._passed > self._stall_after:
            self._stand_still()
