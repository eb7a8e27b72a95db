"""A proxy between a driver and the server that counts how often the driver waits for an answer."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL

#: How long an answer takes, as on a network: what is sent meanwhile belongs to the same flight. In seconds.
DELAY = 0.002


class Flights:
    """The flights of all connections so far: what a client sends until the server answers is one.

    :ivar count: how many there were.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def relay(self, client: socket.socket, server: socket.socket) -> None:
        """Hand on what both sides of one connection send, until one of them closes it."""
        is_answered = True

        def pump(source: socket.socket, target: socket.socket, *, is_client: bool) -> None:
            nonlocal is_answered
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    if not is_client:
                        time.sleep(DELAY)
                    with self._lock:
                        if is_client and is_answered:
                            self.count += 1
                        is_answered = not is_client
                    target.sendall(data)
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

        answers = threading.Thread(target=pump, args=(server, client), kwargs={"is_client": False}, daemon=True)
        answers.start()
        pump(client, server, is_client=True)
        answers.join()
        client.close()
        server.close()


@contextmanager
def proxied(url: URL) -> Iterator[tuple[URL, Flights]]:
    """The URL of a proxy to a database, and what it counts."""
    flights = Flights()
    listener = socket.create_server(("127.0.0.1", 0))
    relays: list[threading.Thread] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                relay = threading.Thread(target=flights.relay, args=(client, _connect(url)), daemon=True)
                relays.append(relay)
                relay.start()

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    port = listener.getsockname()[1]
    query = {name: value for name, value in url.query.items() if name not in ("host", "port")} | {"sslmode": "disable"}
    try:
        yield url.set(host="127.0.0.1", port=port, query=query), flights
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join()
        for relay in relays:
            relay.join()


def _connect(url: URL) -> socket.socket:
    host = str(url.query.get("host") or url.host)
    port = int(str(url.query.get("port") or url.port or 5432))
    if not host.startswith("/"):
        return socket.create_connection((host, port))
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{host}/.s.PGSQL.{port}")
    return server
