"""Metrics of a judge in a suite: loaded once, asked together; at a server, whatever the server does."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.errors import MissingError, UsageError
from bench.models import endpoint_retry
from bench.pipeline.fetching import metrics_to_fetch
from bench.scoring.ready import check_metrics_load
from bench.scoring.score import score
from bench.store.run_store import RunStore
from bench.suite.schema import Suite
from metrics import catalogue
from metrics.definitions import _ASKED
from tests.unit.bench.models.chat_server import ChatServer, redness, said
from tests.unit.bench.models.images_server import Answer, Body, answer, serving
from tests.unit.bench.scoring.fakes import run_of
from tests.unit.metrics.judge_folder import write_judge

NEITHER = "the judge answered neither Yes nor No: both have less than half of the probability"
LEVELS = {"p1": [20, 90], "p2": [200, 160]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judge(tmp_path_factory.mktemp("judge") / "tiny", decided=True)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return run_of(tmp_path, LEVELS)


@pytest.fixture(autouse=True)
def own_names() -> Iterator[None]:
    yield
    for name in list(_ASKED):
        catalogue._FACTS.pop(name, None)
        catalogue._TARGETS.pop(name, None)
    _ASKED.clear()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setattr(endpoint_retry, "FIRST_WAIT", 0.01)
    with serving(ChatServer()) as running:
        assert isinstance(running, ChatServer)
        yield running


def suite_of(**metrics: dict[str, Any]) -> Suite:
    data = {"name": "tiny", "model": {"family": "none", "weights": "none"}, "prompts": "shapes", "metrics": metrics}
    return Suite.model_validate(data)


def at(server: ChatServer, **more: Any) -> dict[str, Any]:
    return {"options": {"url": server.url, "model": "tiny", **more}}


def values(store: RunStore, name: str) -> list[float]:
    return [row.value for row in store.scores(name)]


def reasons(store: RunStore, name: str) -> list[str]:
    return [row.reason for row in store.scores(name) if row.reason]


@pytest.mark.slow
def test_a_suites_own_questions(store: RunStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from metrics.judge import opened

    loads = []
    really = opened.open_folder
    monkeypatch.setattr(opened, "open_folder", lambda *a: loads.append(1) or really(*a))
    suite = suite_of(
        vqascore={"weights": str(folder)},
        has_dog={"weights": str(folder), "question": "Is there a dog in the image of {prompt}?"},
        breed={"weights": str(folder), "question": "What breed?", "answers": ["boxer", "poodle", "pug"]},
    )
    check_metrics_load(suite)
    assert loads == [1]
    score([store], suite)
    assert loads == [1, 1]
    assert len(values(store, "vqascore")) == len(values(store, "has_dog")) == 4
    assert all(0 < value < 1 for value in values(store, "vqascore"))
    assert set(reasons(store, "has_dog")) <= {NEITHER}  # random weights know no dogs
    assert [row.sample for row in store.scores("breed")] == [None, None]
    card = store.score_card("breed")
    assert card is not None
    assert card["settings"]["answers"] == ["boxer", "poodle", "pug"]
    assert (card["kind"], card["direction"]) == ("group", "higher")
    again = Suite.model_validate(suite.resolved())
    assert again.metrics["breed"].answers == ["boxer", "poodle", "pug"]
    assert "question" not in suite.resolved()["metrics"]["vqascore"]
    assert score([store], again) == 0  # nothing is asked again
    other = suite_of(has_dog={"weights": str(folder), "question": "Is there a cat?"})
    assert score([store], other) == 4


def test_a_question_that_cannot_be_one(folder: Path) -> None:
    for spec, words in (
        ({"answers": ["a", "b"]}, "has answers and needs the question"),
        ({"question": "A?", "torchmetrics": "image.TotalVariation"}, "has both torchmetrics and question"),
        ({"question": "A?", "options": {"question": "B?"}}, r"write question in \[metrics.own\] itself"),
        ({"question": "A?", "answers": ["one"]}, "answers"),
        ({"question": ""}, "question"),
    ):
        with pytest.raises(ValueError, match=words):
            suite_of(own=spec)
    with pytest.raises(ValueError, match="metric name 'vqascore' is already in use"):
        suite_of(vqascore={"question": "Is it?"})
    with pytest.raises(MissingError, match="must differ from one another"):
        check_metrics_load(
            suite_of(own={"weights": str(folder), "question": "A?", "answers": ["Dog", "dog "]}, **ABSENT)
        )


ABSENT: dict[str, dict[str, Any]] = {"unified_reward": {"weights": "/nowhere"}}


def test_what_is_to_fetch_is_said_once() -> None:
    suite = suite_of(
        vqascore={}, geneval2={}, unified_reward={"options": {"url": "http://127.0.0.1:1/v1", "model": "m"}}
    )
    (one,) = metrics_to_fetch(suite)
    assert (one.what, one.megabytes) == ("metric vqascore and geneval2", 16_722)


def test_a_served_judge(server: ChatServer, store: RunStore) -> None:
    suite = suite_of(
        vqascore=at(server),
        red={"question": "Is it red?", **at(server)},
        colour={"question": "Which?", "answers": ["red", "green", "blue"], **at(server)},
        unified_reward=at(server, axis="alignment"),
    )
    score([store], suite)
    for name in ("vqascore", "red"):
        found = values(store, name)
        assert found[0] < found[1] < 0.75  # the share of red, of which Yes has half and yes behind a space a quarter
    assert values(store, "colour")[0] == pytest.approx(math.log(2) / math.log(3))
    assert reasons(store, "colour") == ["2 of its 2 images show none of the listed answers"]
    assert all(1 <= value <= 5 for value in values(store, "unified_reward"))
    card = store.score_card("vqascore")
    assert card is not None
    who = {"name": "tiny", "model": {"id": "tiny", "root": "tiny-v1"}, "version": {"version": "1.0"}}
    assert card["settings"]["server"] == who
    assert (card["weights"], card["label"], card["source"]) == ({}, "served", f"model 'tiny' at {server.url}")
    assert "url" not in card["asked"]["options"]
    sent = server.requests[-1]
    assert (sent["temperature"], sent["model"]) == (0, "tiny")


def test_another_model_has_another_card(server: ChatServer, store: RunStore, tmp_path: Path) -> None:
    suite = suite_of(vqascore=at(server))
    score([store], suite)
    first = store.score_card("vqascore")
    server.models = [{"id": "tiny", "root": "tiny-v2"}]
    other = run_of(tmp_path / "other", LEVELS)
    score([other], suite)
    second = other.score_card("vqascore")
    assert first is not None
    assert second is not None
    assert first["digest"] != second["digest"]


def test_a_server_that_is_replaced_while_it_is_asked(server: ChatServer, store: RunStore) -> None:
    def replaced(body: Body, before: int) -> Answer | None:
        if before == 2:
            server.models = [{"id": "tiny", "root": "tiny-v2"}]
        return None

    server.hook = replaced
    with pytest.raises(MissingError, match="model 'tiny' at .* is another one now than at the start"):
        score([store], suite_of(vqascore=at(server)))
    assert values(store, "vqascore") == []


def test_refusals_are_reasons_and_a_busy_server_is_asked_again(server: ChatServer, store: RunStore) -> None:
    busy = [answer(503, {"error": "loading"}), answer(429, {"error": "slow"}, Retry_After="0")]

    def odd(body: Body, before: int) -> Answer | None:
        red = redness(body)
        if before == 0:
            return None
        if red < 0.2:
            return answer(400, {"error": {"message": "refused by policy"}})
        if red < 0.5:
            return said({"Yes": 0.9, "No": 0.9})
        if red < 0.7:
            return said({"Yes": 0.9}, message={"content": None, "refusal": "I cannot help with that"})
        return busy.pop() if busy else None

    server.hook = odd
    score([store], suite_of(vqascore=at(server)))
    assert not busy
    assert reasons(store, "vqascore") == [
        "refused by the endpoint (HTTP 400: refused by policy)",
        'the judge\'s log-probabilities are none: [["Yes", -0.10536051565782628], ["No", -0.10536051565782628]]',
        "the judge refuses to answer: I cannot help with that",
    ]
    assert [round(value, 2) for value in values(store, "vqascore") if not math.isnan(value)] == [0.61]


def test_a_server_that_goes_away_leaves_no_reason(server: ChatServer, store: RunStore, tmp_path: Path) -> None:
    server.hook = lambda body, before: answer(503, {"error": "gone"}) if before else None
    with pytest.raises(MissingError, match="does not answer, after 8 tries: HTTP 503"):
        score([store], suite_of(vqascore=at(server)))
    assert store.scores("vqascore") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (said(None), "answers without log-probabilities"),
        (answer(200, {"choices": []}), "does not answer as a chat API does"),
        (answer(200, b"<html>"), "does not answer as a chat API does"),
        (answer(404, {"detail": "Not Found"}), "has no chat API"),
        (answer(500, {"detail": "boom"}), "fails .HTTP 500: boom"),
    ],
)
def test_what_is_no_judge_is_told_before_anything_is_made(odd: Answer, words: str, server: ChatServer) -> None:
    server.hook = lambda body, before: odd
    with pytest.raises((MissingError, UsageError), match=words):
        check_metrics_load(suite_of(vqascore=at(server)))


@pytest.mark.slow
def test_keys_names_and_addresses(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.key = "secret-of-the-judge"
    with pytest.raises((MissingError, UsageError), match="API key|no key") as caught:
        check_metrics_load(suite_of(vqascore=at(server)))
    assert "secret" not in str(caught.value)
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(MissingError, match="the API key of .* is not set: export JUDGE_KEY"):
        check_metrics_load(suite_of(vqascore=at(server, api_key_env="JUDGE_KEY")))
    monkeypatch.setitem(os.environ, "JUDGE_KEY", "secret-of-the-judge")
    check_metrics_load(suite_of(vqascore=at(server, api_key_env="JUDGE_KEY")))
    server.key = None
    for options, words in (
        ({"url": server.url}, "needs the name of its model"),
        ({"url": "not an address", "model": "tiny"}, "must be an address"),
        ({"model": "tiny"}, "model belongs to a judge at a url"),
        ({"url": server.url, "model": "huge"}, "does not serve 'huge', but tiny"),
        (
            {"url": server.url, "model": "tiny", "backbone_dtype": "bfloat16"},
            "takes neither weights nor backbone_dtype",
        ),
    ):
        with pytest.raises((MissingError, UsageError), match=words):
            check_metrics_load(suite_of(vqascore={"options": options}))
