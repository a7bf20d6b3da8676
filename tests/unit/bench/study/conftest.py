"""A small study of three real runs (suite "small", 4 prompts, 2 images each), made without torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bench.study
from bench.study.folder import Study
from bench.study.keys import Keys
from bench.study.server import Application
from bench.study.sessions import Sessions
from bench.study.store import VoteStore, open_votes

RUNS = Path(__file__).parents[3] / "data" / "v1" / "results" / "runs" / "small"
METHODS = ("base@f968f89e", "refl@ad6b75db", "combined@4de1646c")
OWN = {"origin": "http://testserver", "content-type": "application/json"}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of preference and diversity, made once: copy it to vote on it."""
    out = tmp_path_factory.mktemp("made") / "study"
    bench.study.make([RUNS / name for name in METHODS], out, task="both", per_rater=8, votes=2, seed=11)
    return out


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Study:
    """A copy of the study that nobody has voted on."""
    folder = tmp_path / "study"
    shutil.copytree(made, folder)
    return bench.study.open_study(folder)


@pytest.fixture
def votes(study: Study) -> Iterator[VoteStore]:
    store = open_votes(study)
    yield store
    store.close()


@pytest.fixture
def sessions(study: Study, votes: VoteStore) -> Sessions:
    return Sessions(study, Keys.of(study.folder, study.plan), votes)


@pytest.fixture
def client(sessions: Sessions) -> Any:
    """A client of the application, without a socket."""
    from starlette.testclient import TestClient

    return TestClient(Application(sessions).build(), raise_server_exceptions=False)


@pytest.fixture
def rater(client: Any, sessions: Sessions) -> Callable[..., Rater]:
    def open_link(name: str = "r0001", consent: bool = True) -> Rater:
        one = Rater(client, f"/r/{sessions.keys.token(name)}", {**OWN, "x-study-token": sessions.keys.csrf(name)})
        if consent:
            one.post("/consent")
        return one

    return open_link


class Rater:
    """One rater's requests."""

    def __init__(self, client: Any, base: str, headers: dict[str, str]) -> None:
        self.client, self.base, self.headers = client, base, headers

    def get(self, path: str = "") -> Any:
        return self.client.get(self.base + path)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.client.post(
            self.base + path, json={} if body is None else body, headers={**self.headers, **headers}
        )

    def state(self) -> dict[str, Any]:
        return dict(self.get("/state").json())

    def vote(self, choice: str = "left", item: str | None = None) -> Any:
        return self.post("/vote", {"item": item or self.state()["item"]["id"], "choice": choice, "seconds": 1.5})
