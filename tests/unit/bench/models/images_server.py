"""An OpenAI-compatible images API in a thread, which behaves, or misbehaves as a test says."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from bench.models.endpoint_probe import PROMPT
from bench.store.atomic import png_bytes

Body = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]
Hook = Callable[[Body, int], Answer | None]
"""(body of a request for a picture, how many came before) -> what to answer in place of the picture; None: as usual."""


def answer(status: int, data: object, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return status, named, data if isinstance(data, bytes) else json.dumps(data).encode()


def png(body: Body, ignored: frozenset[str] = frozenset(), size: tuple[int, int] | None = None) -> bytes:
    """The picture of a request: noise that each of its parameters changes but those that are ignored."""
    drawn = {key: value for key, value in body.items() if key not in ignored}
    seed = int.from_bytes(hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).digest()[:8], "big")
    width, height = size or tuple(map(int, body["size"].split("x")))
    return png_bytes(np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8))


def picture(body: Body, **changes: Any) -> Answer:
    return image_answer(png(body, **changes))


def image_answer(data: bytes) -> Answer:
    return answer(200, {"created": 1, "data": [{"b64_json": base64.b64encode(data).decode()}]})


@dataclass
class ImagesServer:
    """What the server serves and has seen. `hook` sees only requests of the run, `probe_hook` those of the probe."""

    port: int = 0
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "tiny", "root": "tiny-v1"}])
    ignored: frozenset[str] = frozenset()
    key: str | None = None
    hook: Hook | None = None
    probe_hook: Hook | None = None
    requests: list[Body] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def of_run(self) -> list[Body]:
        return [body for body in self.requests if body["prompt"] != PROMPT]

    def get(self, path: str) -> Answer:
        if path == "/v1/models":
            stamped = [{**one, "created": len(self.requests), "object": "model"} for one in self.models]
            return answer(200, {"object": "list", "data": stamped})
        return answer(200, {"version": "1.0"}) if path == "/version" else answer(404, {"detail": "Not Found"})

    def post(self, body: Body) -> Answer:
        with self.lock:
            is_probe = body["prompt"] == PROMPT
            before = len(self.requests) - len(self.of_run) if is_probe else len(self.of_run)
            self.requests.append(body)
        hook = self.probe_hook if is_probe else self.hook
        return (hook(body, before) if hook is not None else None) or picture(body, ignored=self.ignored)


@contextmanager
def serving(server: ImagesServer) -> Iterator[ImagesServer]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(server.get(self.path) if self._known() else answer(401, {"error": {"message": "no key"}}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = self._known()
            self._send(server.post(body) if known else answer(401, {"error": {"message": self._said()}}))

        def _said(self) -> str:
            return f"wrong key {self.headers.get('Authorization')}"  # a server that repeats what it was sent

        def _known(self) -> bool:
            return server.key is None or self.headers.get("Authorization") == f"Bearer {server.key}"

        def _send(self, what: Answer) -> None:
            status, headers, data = what
            self.send_response(status)
            for name, text in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, text)
            self.end_headers()
            try:
                self.wfile.write(data)
            except OSError:  # the client gave up
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", server.port), Handler)
    http.daemon_threads = True
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
