"""One HTTP request against servers that never come to an end."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bench.models.endpoint_http import Client, UnreachableError

Talk = Callable[[socket.socket], None]


@contextlib.contextmanager
def talking(talk: Talk) -> Iterator[str]:
    """A server that says to each client what a test writes, byte by byte if need be."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    client, _ = listening.accept()
                    with client, contextlib.suppress(OSError):
                        client.settimeout(5)
                        asked = b""
                        while b"\r\n\r\n" not in asked:  # closed with something unread, a connection is reset
                            asked += client.recv(1 << 16) or b"\r\n\r\n"
                        talk(client)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            ended.set()
            thread.join()


def drip(data: bytes, pause: float = 0.02) -> Talk:
    def talk(client: socket.socket) -> None:
        for byte in data:
            client.sendall(bytes([byte]))
            time.sleep(pause)

    return talk


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "said",
    [OK + b"X: " + b"a" * 500, OK + b"Content-Length: 500\r\n\r\n" + b"a" * 500, OK + b"\r\n" + b"a" * 500],
    ids=["head", "body", "body without length"],
)
def test_a_slow_answer_ends_at_its_last_moment(said: bytes) -> None:
    with talking(drip(said)) as url:
        began = time.monotonic()
        with pytest.raises(UnreachableError, match=r"no whole answer within 0\.4 s") as error:
            Client(url, 0.4).request("GET", "/models")
        assert time.monotonic() - began < 4
        assert error.value.slow


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (OK + b"Content-Length: 100\r\n\r\nabc", "its answer broke off"),
        (OK + b"Content-Length: 9000\r\n\r\n" + b"a" * 9000, "larger than the 1,000 bytes allowed"),
        (OK + b"\r\n" + b"a" * 9000, "larger than the 1,000 bytes allowed"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "IncompleteRead"),
        (b"hello", "BadStatusLine: hello"),
        (b"", "RemoteDisconnected"),
    ],
)
def test_answers_that_are_none_are_told(said: bytes, told: str) -> None:
    with talking(lambda client: client.sendall(said)) as url, pytest.raises(UnreachableError, match=told) as error:
        Client(url, 5.0).request("GET", "/models", most=1000)
    assert not error.value.slow


def test_closing_ends_what_is_under_way() -> None:
    ended = threading.Event()
    with talking(lambda client: ended.wait(20) and None) as url:
        client = Client(url, 30.0)
        threading.Timer(0.2, client.close).start()
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="the work was stopped"):
            client.request("GET", "/models")
        assert time.monotonic() - began < 5
        ended.set()


def test_the_key_is_taken_out_of_what_is_shown() -> None:
    assert Client("http://a", 1.0, "sk-1").scrubbed("key sk-1 is wrong") == "key *** is wrong"
