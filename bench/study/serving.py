"""The study's server as a process: bound to this machine unless told otherwise."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.errors import MissingError, UsageError, system_reason
from bench.formatting import one_line
from bench.runtime.log import get_logger
from bench.study.databases import name_database, without_password
from bench.study.folder import Study, open_study
from bench.study.keys import Keys
from bench.study.sessions import Sessions
from bench.study.store import SIMULATED, VoteStore, open_votes

logger = get_logger(__name__)
NEEDED = 'the study\'s server needs starlette and uvicorn: run `pip install "imagerefl-bench[study]"`'


def serve(
    folder: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    url: str | None = None,
    database: str | None = None,
    told: Callable[[str], None] = print,
) -> None:
    """Serve a study until interrupted. `url` is the address that raters reach it by, where that is another one.

    `told` gets the lines that say where the pages are. MissingError: starlette or uvicorn (extra "study") is not
    installed; UsageError: the port is taken, `url` is no address of a server, or the study has simulated votes, which
    must not mix with people's.
    """
    _require()
    outside = None if url is None else public_address(url)
    study, keys, votes = opened(folder, database)
    with _closing(votes):
        if SIMULATED in votes.sources():
            raise UsageError(
                f"{folder} has votes of simulated raters, which must not mix with people's: make a new study for people"
            )
        with listening(host, port) as (listener, address):
            origin = outside or address
            if host not in ("127.0.0.1", "::1", "localhost"):
                logger.warning(
                    f"listening on {host}: links are secrets, so put a server with TLS before it where the network is "
                    "not your own"
                )
            told(f"progress and links of all raters: {origin}/admin/{keys.admin()}")
            for rater in list(study.plan)[:3]:
                told(f"link of rater {rater}: {origin}/r/{keys.token(rater)}")
            told("Ctrl-C stops the server; answers are kept, and raters can go on when it runs again.")
            _server(Sessions(study, keys, votes), url=outside).run(sockets=[listener])


def public_address(url: str) -> str:
    """An address that raters reach the server by, without a slash at its end. UsageError: it is none.

    >>> public_address("https://study.example.org/")
    'https://study.example.org'
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is no number
        known = False
    if not known or "@" in parts.netloc or any(one.isspace() for one in url):
        shown = one_line(without_password(url))
        raise UsageError(f"--url '{shown}' is no address of a server, such as https://study.example.org")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(
            f"--url '{one_line(url)}' has a path, but the pages of a study lie at the top of their server: give it a "
            f"host name or port of its own, such as {parts.scheme}://study.{parts.hostname}"
        )
    return f"{parts.scheme}://{parts.netloc}"


def opened(folder: Path | str, database: str | None = None) -> tuple[Study, Keys, VoteStore]:
    """A study's folder, its key and its votes; a `database` that is given is the study's from now on."""
    study = open_study(folder)
    keys = Keys.of(study.folder, study.plan)
    votes = open_votes(study, database)
    if database:
        try:
            name_database(study.folder, database)
        except UsageError:
            votes.close()
            raise
    return study, keys, votes


@contextmanager
def _closing(votes: VoteStore) -> Iterator[None]:
    try:
        yield
    finally:
        votes.close()


@contextmanager
def listening(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """A bound socket and its address as a URL; port 0 takes a free one. UsageError when it cannot be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by its name: only where it reads that from the socket, asyncio sends small packets at once.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            listener.bind((host, port))
        except (OSError, OverflowError) as error:
            why = system_reason(error)
            raise UsageError(f"cannot listen on {host}:{port} ({why}): choose another --host or --port") from None
        shown = f"[{host}]" if ":" in host else host
        yield listener, f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        listener.close()


def _require() -> None:
    """MissingError where the extra is not installed, before anything is made."""
    if any(find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise MissingError(NEEDED)


def _server(sessions: Sessions, rate: float = 20.0, url: str | None = None) -> Any:
    """A uvicorn server that logs no links."""
    _require()
    import uvicorn

    from bench.study.server import Application

    config = uvicorn.Config(
        Application(sessions, rate, url).build(),
        http="h11",  # the other parser, where it is installed, takes headers of any length
        log_level="warning",
        access_log=False,  # its lines would hold the links
        server_header=False,
        date_header=False,
        timeout_keep_alive=30,
        limit_concurrency=1000,
        h11_max_incomplete_event_size=16384,
        lifespan="off",
    )
    return uvicorn.Server(config)


@contextmanager
def running(sessions: Sessions, rate: float = 20.0) -> Iterator[str]:
    """The server in a thread of this process, on a free port of the loopback interface; gives its address."""
    server = _server(sessions, rate)
    with listening("127.0.0.1", 0) as (listener, address):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield address
        finally:
            server.should_exit = True
            thread.join(timeout=30)
