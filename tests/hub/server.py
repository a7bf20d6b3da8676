"""A model hub on 127.0.0.1, for tests: repositories in memory, served by the protocol that the hub's client speaks.

What is spoken: `/api/{models,datasets}/{repo}/revision/{rev}`, `/api/.../tree/{rev}`, and HEAD and GET (with Range) of
`/{repo}/resolve/{rev}/{file}`. As on the real hub, large files answer with a redirect to a store, carry
`X-Linked-Etag` (their sha256) and `X-Linked-Size`, and every answer has `X-Repo-Commit`. The newer transfer protocol of
the hub (Xet) is not offered. Faults are set per file and used up one by one.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin", ".ckpt", ".pt", ".pkl", ".png")


@dataclass
class Repo:
    """One repository at one commit: contents by file name. `branches` are the names that mean this commit."""

    files: dict[str, bytes]
    branches: tuple[str, ...] = ("main",)
    gated: bool = False
    commit: str = ""

    def __post_init__(self) -> None:
        told = json.dumps({name: hashlib.sha256(data).hexdigest() for name, data in sorted(self.files.items())})
        self.commit = self.commit or hashlib.sha1(told.encode()).hexdigest()

    def knows(self, revision: str) -> bool:
        return revision in (*self.branches, self.commit)


@dataclass
class Hub:
    """The repositories, the faults still to come, and what was asked for: ("GET", "owner/name", "file")."""

    repos: dict[str, Repo] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    cuts: dict[str, list[int]] = field(default_factory=dict)  # file -> bytes sent before the connection is cut
    damaged: set[str] = field(default_factory=set)  # files of which other bytes of the same number are sent
    status: int = 0  # if not 0, what every request is answered with
    bare: bool = False  # answers without the hub's own headers, as a proxy's log-in page has
    endpoint: str = ""
    store: str = ""  # where large files are: another host than the hub's, as in life

    def add(self, repo: str, files: dict[str, bytes] | Path, **facts: Any) -> Repo:
        """Serve these files, or all files of a folder."""
        if isinstance(files, Path):
            files = {
                path.relative_to(files).as_posix(): path.read_bytes()
                for path in sorted(files.rglob("*"))
                if path.is_file()
            }
        self.repos[repo] = Repo(files, **facts)
        return self.repos[repo]

    def fetched(self, method: str = "GET") -> set[str]:
        """Names of the files that were asked for with this method."""
        return {file for how, _, file in self.asked if how == method and file}


class Handler(BaseHTTPRequestHandler):
    """Answers one request from `self.server.hub`."""

    protocol_version = "HTTP/1.1"
    timeout = 20
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if self.hub.status:
            return self._json({"error": "fault"}, status=self.hub.status)
        if parts[0] == "api":
            return self._api(parts[1:])
        dataset = parts[0] == "datasets"
        parts = parts[1:] if dataset else parts
        if parts[0] == "store":
            return self._content("/".join(parts[1:3]), "/".join(parts[3:]))
        name, (kind, revision), file = "/".join(parts[:2]), parts[2:4], "/".join(parts[4:])
        assert kind == "resolve", self.path
        return self._file(("datasets/" if dataset else "") + name, revision, file)

    def _api(self, parts: list[str]) -> None:
        kind, name, rest = parts[0], "/".join(parts[1:3]), parts[3:]
        repo = self._repo(("datasets/" if kind == "datasets" else "") + name, rest[1] if len(rest) > 1 else "main")
        if repo is None:
            return
        self.hub.asked.append((self.command, name, ""))
        if rest and rest[0] == "tree":
            return self._json([entry(path, data) for path, data in repo.files.items()])
        siblings = [{"rfilename": path} for path in repo.files]
        self._json(
            {"id": name, "modelId": name, "sha": repo.commit, "siblings": siblings, "private": False, "tags": []}
        )

    def _file(self, name: str, revision: str, file: str) -> None:
        repo = self._repo(name, revision)
        if repo is None:
            return
        self.hub.asked.append((self.command, name, file))
        if repo.gated:
            return self._json({"error": "gated"}, status=403, headers={"X-Error-Code": "GatedRepo"})
        if file not in repo.files:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.commit}
            return self._json({"error": "no such file"}, status=404, headers=headers)
        data = repo.files[file]
        headers = {} if self.hub.bare else {"X-Repo-Commit": repo.commit, "ETag": f'"{git_digest(data)}"'}
        if not file.endswith(LARGE):
            return self._send(data, headers, file)
        sha = hashlib.sha256(data).hexdigest()
        if not self.hub.bare:
            headers |= {"X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(data)), "ETag": f'"{sha[:32]}-1"'}
        headers["Location"] = f"{self.hub.store}/store/{name}/{file}"
        self._json({}, status=302, headers=headers)

    def _content(self, name: str, file: str) -> None:
        self.hub.asked.append((self.command, name, file))
        self._send(self.hub.repos[name].files[file], {"ETag": '"of-the-store"'}, file)

    def _repo(self, name: str, revision: str) -> Repo | None:
        """The repository at a revision, or None after the hub's refusal was sent."""
        repo = self.hub.repos.get(name)
        if repo is None:
            self._json({"error": "Invalid username or password."}, status=401, headers={"X-Error-Code": "RepoNotFound"})
            return None
        if not repo.knows(revision):
            self._json({"error": "revision"}, status=404, headers={"X-Error-Code": "RevisionNotFound"})
            return None
        return repo

    def _send(self, data: bytes, headers: dict[str, str], file: str) -> None:
        start, status = 0, 200
        asked = self.headers.get("Range", "")
        if self.command == "GET" and asked.startswith("bytes="):
            start, status = int(asked.removeprefix("bytes=").split("-")[0]), 206
            self.hub.ranges.append(asked)
            headers |= {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        if file in self.hub.damaged:
            data = bytes(byte ^ 1 for byte in data)
        body = data[start:]
        self._head(status, {**headers, "Content-Length": str(len(body)), "Accept-Ranges": "bytes"})
        if self.command != "GET":
            return
        cuts = self.hub.cuts.get(file)
        if cuts:
            self.wfile.write(body[: cuts.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(body)

    def _json(self, data: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(data).encode()
        shown = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        self._head(status, shown)
        if self.command == "GET":
            self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def git_digest(data: bytes) -> str:
    """The name that git gives to a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def entry(path: str, data: bytes) -> dict[str, Any]:
    """One file as the tree of a repository lists it."""
    row = {"type": "file", "path": path, "size": len(data), "oid": git_digest(data)}
    if path.endswith(LARGE):
        row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return row


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub, and its store on another port, on free ports of 127.0.0.1 until the block ends."""
    hub = Hub()
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    with _listening(handler) as hub.endpoint, _listening(handler) as hub.store:
        yield hub


@contextmanager
def _listening(handler: type[Handler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
