"""One bounded HTTP request at a time: no redirects, a most bytes, a last moment, and no API key in any message.

A redirect would send the key elsewhere. A server may answer byte by byte, or without end: whatever it does, a request
is over at its last moment. Proxies that the environment names are not used.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from bench.errors import UsageError
from bench.formatting import one_line

MOST_ANSWER = 4 << 20
"""Bytes of an answer that is no picture."""
_READ = 1 << 16
_SHOWN = 200


class UnreachableError(Exception):
    """No answer came, or none that can be read; its text is a clause that says why. `slow`: time ran out."""

    def __init__(self, why: str, slow: bool = False) -> None:
        super().__init__(why)
        self.slow = slow


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON data; None where it is none."""
        try:
            return json.loads(self.body.decode("utf-8"))
        except (ValueError, RecursionError):
            return None


@dataclass(eq=False)
class Client:
    """Requests to one server, from any thread. `url` stands in front of paths; `timeout` is a whole request's, in s."""

    url: str
    timeout: float
    key: str | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    _sockets: set[socket.socket] = field(default_factory=set)

    def request(
        self, method: str, path: str, payload: Mapping[str, Any] | None = None, most: int = MOST_ANSWER
    ) -> Reply:
        """The answer, whatever its status, of at most `most` bytes. UnreachableError; UsageError for a redirect."""
        late = threading.Event()
        try:
            reply = self._exchange(method, path, payload, most, late)
        except (OSError, HTTPException, ValueError) as error:
            slow = late.is_set() or isinstance(error, TimeoutError)
            why = f"no whole answer within {self.timeout:g} s" if slow else self.scrubbed(_why(error))
            raise UnreachableError("the work was stopped" if self.stopped.is_set() else why, slow) from None
        if 300 <= reply.status < 400:
            where = self.scrubbed(one_line(reply.headers.get("location", "elsewhere"))[:_SHOWN])
            raise UsageError(
                f"the endpoint {self.url} redirects to {where} (HTTP {reply.status}), which is not followed: give the "
                "final address as url"
            )
        return reply

    def close(self) -> None:
        """End all requests that are under way: the threads that wait for them get an error at once."""
        self.stopped.set()
        for sock in list(self._sockets):
            _shut(sock)

    def scrubbed(self, text: str) -> str:
        """The text without the API key, should a server repeat it."""
        return text.replace(self.key, "***") if self.key else text

    def _exchange(
        self, method: str, path: str, payload: Mapping[str, Any] | None, most: int, late: threading.Event
    ) -> Reply:
        parts = urlsplit(self.url)
        connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = connect(parts.hostname or "", parts.port, timeout=self.timeout)
        connection.connect()
        sock = connection.sock

        def give_up() -> None:
            late.set()
            _shut(sock)

        timer = threading.Timer(self.timeout, give_up)
        timer.daemon = True
        self._sockets.add(sock)
        timer.start()
        answer: HTTPResponse | None = None
        try:
            body = None if payload is None else json.dumps(payload, allow_nan=False).encode()
            connection.request(method, f"{parts.path}{path}", body, self._headers(body is not None))
            answer = connection.getresponse()
            content = _read(answer, most)
            if late.is_set() or self.stopped.is_set():
                raise HTTPException("it was given up")
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)
        finally:
            timer.cancel()
            self._sockets.discard(sock)
            if answer is not None:
                answer.close()
            connection.close()
            sock.close()

    def _headers(self, with_body: bool) -> dict[str, str]:
        headers = {"Accept": "application/json", "Connection": "close"}
        if with_body:
            headers["Content-Type"] = "application/json"
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return headers


def _read(answer: HTTPResponse, most: int) -> bytes:
    content = bytearray()
    while part := answer.read(min(_READ, most + 1 - len(content))):
        content += part
        if len(content) > most:
            raise HTTPException(f"its answer is larger than the {most:,} bytes allowed")
    if answer.length:  # less came than was announced
        raise HTTPException("its answer broke off")
    return bytes(content)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _why(error: Exception) -> str:
    """An error of the connection as a clause."""
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused (is the server running?)"
    if isinstance(error, socket.gaierror):
        return f"its host name cannot be resolved ({error.strerror})"
    text = one_line(str(error))[:_SHOWN]
    return text if type(error) is HTTPException else f"{type(error).__name__}: {text}" if text else type(error).__name__
