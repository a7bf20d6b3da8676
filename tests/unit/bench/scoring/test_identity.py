"""What counts as the same way to score: the content of all files read, and options in whatever way they are said."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import metrics
from bench.models.weights import digest
from bench.scoring.identity import Scope, scope_of
from bench.scoring.memory import Models
from bench.scoring.metric_weights import here, load_metric
from bench.store.cards import card_difference
from bench.suite.metric_spec import MetricSpec
from tests.unit.metrics.checkpoints import FOLDERS, MAKERS, make_clip, make_hps, make_image_reward, make_vit

SUITE: Any = SimpleNamespace(label=None, reference=None)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Metric name -> folder of its tiny checkpoint."""
    root = tmp_path_factory.mktemp("weights")
    made = {name: maker(root / name) for name, maker in MAKERS.items()}
    return {metric: made[folder] for metric, folder in FOLDERS.items()}


def scope(name: str, weights: Path | str | None = None, **options: Any) -> Scope:
    return scope_of(name, MetricSpec(weights=None if weights is None else str(weights), options=options), SUITE)


@pytest.mark.parametrize(
    ("name", "maker", "file", "beside"),
    [
        ("image_reward", make_image_reward, "ImageReward.safetensors", "med_config.json"),
        ("image_reward", make_image_reward, "ImageReward.safetensors", "vocab.txt"),
        ("hpsv2.1", make_hps, "HPS_v2.1_shapes.safetensors", "open_clip_config.json"),
        ("hpsv2.1", make_hps, "HPS_v2.1_shapes.safetensors", "bpe_simple_vocab.txt.gz"),
        ("clip_diversity", make_clip, "model.safetensors", "config.json"),
        ("dino", make_vit, "model.safetensors", "config.json"),
    ],
)
def test_what_is_read_beside_a_file_counts(name: str, maker: Any, file: str, beside: str, tmp_path: Path) -> None:
    folder = maker(tmp_path / "made")
    before = scope(name, folder / file)
    shutil.copytree(folder, tmp_path / "copy")
    assert scope(name, tmp_path / "copy" / file) == before
    (folder / "read-me.md").write_text("hello")
    (folder / "others").mkdir()
    assert scope(name, folder / file) == before
    (folder / beside).write_bytes((folder / beside).read_bytes() + b"\n")
    assert scope(name, folder / file).digest != before.digest


def test_the_card_of_a_file_names_nothing_that_does_not_count(weights: dict[str, Path]) -> None:
    for name, folder in weights.items():
        for file in sorted(folder.glob("*.pth" if name == "aesthetic" else "*.safetensors")):
            card = metrics.load(name, weights=file).card
            facts = metrics.info(name)
            counted = {path.name for pattern in facts.beside for path in folder.glob(pattern)} | {file.name}
            assert {key.rpartition("/")[2] for key in card.weights} <= counted, name


def test_every_ending_of_weights_counts(tmp_path: Path) -> None:
    for ending in (".pth.tar", ".ckpt", ".pt", ".safetensors"):
        path = tmp_path / f"x{ending}"
        path.write_bytes(b"1")
        before = digest(tmp_path)
        path.write_bytes(b"22")
        assert digest(tmp_path) != before


def test_options_that_are_weights_count_by_their_content(tmp_path: Path) -> None:
    head = tmp_path / "head.pth"
    torch.save({"x": torch.zeros(1)}, head)
    first, second = make_clip(tmp_path / "a"), make_clip(tmp_path / "b")
    assert scope("aesthetic", head, clip=str(first)) == scope("aesthetic", head, clip=str(second))
    before = scope("aesthetic", head, clip=str(first)).digest
    (first / "config.json").write_bytes((first / "config.json").read_bytes() + b"\n")
    assert scope("aesthetic", head, clip=str(first)).digest != before


def test_saying_a_default_changes_nothing() -> None:
    assert scope("vendi") == scope("vendi", q=1) == scope("vendi", q=1.0, backbone="dino", kernel="cosine")
    assert scope("vendi") != scope("vendi", q=2)


def test_two_names_of_one_thing_are_not_told_apart(weights: dict[str, Path]) -> None:
    def stored(backbone: str) -> dict[str, Any]:
        found = scope("vendi", weights["clip_diversity"], backbone=backbone)
        card = metrics.load("vendi", weights=weights["clip_diversity"], backbone=backbone).card
        return card.to_dict() | {"scope": found.digest, "asked": dict(found.asked)}

    assert card_difference(stored("clip"), stored("vit-l-14")) == ""


# --- names of the hub


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put(cache: Path, repo: str, folder: Path, commit: str = "a" * 40) -> Path:
    """A repository in the cache, as the hub's client lays it out; its main branch is at the commit."""
    root = cache / f"models--{repo.replace('/', '--')}"
    shutil.copytree(folder, root / "snapshots" / commit)
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / "main").write_text(commit)
    return root / "snapshots" / commit


def load(name: str, weights: str) -> Any:
    suite: Any = SimpleNamespace(metrics={name: MetricSpec(weights=weights)}, label=None)
    models = Models([name], suite, "cpu")
    groups = [dict(group) for group in models.groups()]
    assert models.failures == {}
    return groups[0][name]


def test_the_published_weights_by_their_name_are_the_published(cache: Path, weights: dict[str, Path]) -> None:
    put(cache, "facebook/dino-vits16", weights["dino"])
    card = load("dino", "facebook/dino-vits16").card
    assert (card.label, card.source, card.revision) == (None, "facebook/dino-vits16", "a" * 40)
    assert here("facebook/dino-vits16", None) == cache / "models--facebook--dino-vits16" / "snapshots" / ("a" * 40)


def test_a_metric_reads_its_own_formats_from_the_hub(cache: Path, weights: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = tmp_path / "made"
    shutil.copytree(weights["hpsv2.1"], folder)
    state = load_file(folder / "HPS_v2.1_shapes.safetensors")
    torch.save(state, folder / "HPS_v2.1_compressed.pt")
    put(cache, "xswu/HPSv2", folder)
    metric = load("hpsv2.1", "xswu/HPSv2:HPS_v2.1_compressed.pt")
    assert metric.card.source == "xswu/HPSv2:HPS_v2.1_compressed.pt"


def test_another_commit_of_the_hub_is_another_scope(cache: Path, weights: dict[str, Path]) -> None:
    absent = scope("dino", "facebook/dino-vits16").digest
    put(cache, "facebook/dino-vits16", weights["dino"])
    first = scope("dino", "facebook/dino-vits16").digest
    put(cache, "facebook/dino-vits16", weights["dino"], "b" * 40)
    assert len({absent, first, scope("dino", "facebook/dino-vits16").digest}) == 3


def test_a_digest_demanded_of_the_hub_is_checked(cache: Path, weights: dict[str, Path]) -> None:
    from bench.errors import MissingError

    folder = put(cache, "a/b", weights["dino"])
    spec = MetricSpec(weights=f"a/b#sha256={digest(folder)}")
    assert load_metric("dino", spec, "cpu").card.source == "a/b"
    with pytest.raises(MissingError, match="weights 'a/b' have the sha256 .*, expected 0000"):
        load_metric("dino", MetricSpec(weights=f"a/b#sha256={'0' * 64}"), "cpu")
