"""Public prompt sets, fetched from a hub that really answers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from bench.errors import MissingError
from bench.suite.prompts import load_prompts
from prompts import MissingPromptsError
from prompts.catalogue import PublicSet
from tests.hub.server import Hub

STYLES = {f"benchmark/{style}.json": json.dumps([f"{style} {k}" for k in range(3)]).encode() for style in ("a", "b")}


@pytest.fixture(autouse=True)
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, PublicSet]:
    monkeypatch.setenv("BENCH_PROMPTS", str(tmp_path / "by-hand"))
    known = {name: hashlib.sha256(data).hexdigest() for name, data in STYLES.items()}
    found = {
        "styles": PublicSet("styles", "t", 6, known, hub="owner/styles", format="json"),
        "loose": PublicSet("loose", "t", 2, {"test.json": ""}, hub="owner/loose", format="json", key="prompt"),
    }
    monkeypatch.setattr("prompts.sets.public_sets", lambda: found)
    return found


def test_fetched_once_and_then_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    hub.add("datasets/owner/styles", STYLES)
    first = load_prompts("styles")
    assert [prompt.id for prompt in first] == ["a-0001", "a-0002", "a-0003", "b-0001", "b-0002", "b-0003"]
    assert hub.fetched() == set(STYLES)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert load_prompts("styles") == first
    assert hub.asked == []


def test_a_changed_set_is_refused(hub: Hub) -> None:
    hub.add("datasets/owner/styles", {**STYLES, "benchmark/b.json": b'["b 0", "b 1", "b 3"]'})
    with pytest.raises(MissingPromptsError, match="is not the file benchmark/b.json of the public prompt set 'styles'"):
        load_prompts("styles")
    hub.add("datasets/owner/loose", {"test.json": b'[{"prompt": "x"}]'})
    with pytest.raises(MissingPromptsError, match="'loose' has 2 prompts, but 1 were found"):
        load_prompts("loose")


def test_a_set_that_cannot_be_had(hub: Hub) -> None:
    with pytest.raises(MissingError) as caught:
        load_prompts("loose")
    text = str(caught.value)
    assert text.startswith("the prompts 'owner/loose:test.json' are not on this machine and could not be fetched")
    assert "no public repository owner/loose on the hub" in text
