"""Published weights come from one commit, and are the published ones where their digests are known."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import metrics
from metrics.builtin import BUILTIN
from metrics.networks.clip_image import BACKBONES
from metrics.weights.hub_name import parse
from metrics.weights.pins import PINS, pinned

UNPINNED = {"RE-N-Y/mpsv1", "Falconsai/nsfw_image_detection", "facebook/mask2former-swin-small-coco-instance"}
"""Nobody could read the commit of these; the card holds the sha256 of what was fetched."""


def test_every_published_repository_has_a_commit() -> None:
    names = [facts.weights for _, facts in BUILTIN if facts.weights and not facts.unsupported]
    names += [one.weights for one in BACKBONES.values()]
    hub = [found for name in names if (found := parse(name)) is not None]
    assert len(hub) > 10
    assert {name.repo for name in hub} <= PINS.keys() | UNPINNED
    assert all(re.fullmatch(r"[0-9a-f]{40}", commit) for commit in PINS.values())


def test_the_commit_goes_behind_the_repository() -> None:
    assert pinned("xswu/HPSv2:HPS_v2_compressed.pt") == f"xswu/HPSv2@{PINS['xswu/HPSv2']}:HPS_v2_compressed.pt"
    for name in ("facebook/dino-vits16@main", "owner/name", "https://host/file.pth", ""):
        assert pinned(name) == name


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put(cache: Path, repo: str, folder: Path, commit: str) -> None:
    """A repository in the cache, as the hub's client lays it out; its main branch is at the commit."""
    root = cache / f"models--{repo.replace('/', '--')}"
    shutil.copytree(folder, root / "snapshots" / commit)
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / "main").write_text(commit)


def test_what_the_repository_holds_later_is_not_taken(cache: Path, weights: dict[str, Path]) -> None:
    repo = "facebook/dino-vits16"
    put(cache, repo, weights["dino"], "b" * 40)
    with pytest.raises(metrics.MissingWeightsError, match=f"hf download {repo} --revision {PINS[repo]}"):
        metrics.load("dino")
    put(cache, repo, weights["dino"], PINS[repo])
    put(cache, repo, weights["vendi"], "c" * 40)
    card = metrics.load("dino").card
    assert (card.revision, card.source, card.label) == (PINS[repo], repo, None)
    assert metrics.load("dino", weights=repo).card.revision == "c" * 40  # named by the user: as it is


def test_published_weights_that_are_not_the_published_are_refused(cache: Path, weights: dict[str, Path]) -> None:
    repo = "yuvalkirstain/PickScore_v1"
    put(cache, repo, weights["pickscore"], PINS[repo])
    with pytest.raises(
        metrics.MissingWeightsError, match=r"PickScore: .* should be the published weights .sha256 ef31"
    ):
        metrics.load("pickscore")
    given: Any = metrics.load("pickscore", weights=repo)
    assert given.card.label == "own weights"
