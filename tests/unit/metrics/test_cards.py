"""Every card says what decides the values: preprocessing, token limit, dtype."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import metrics
from metrics.base.metric import make_card, revision_of
from metrics.base.prompt_cache import cut_notes
from metrics.builtin import BUILTIN
from metrics.types import Request
from metrics.weights.state_dict import digest_files
from tests.tolerance import assert_close
from tests.unit.metrics.card_checks import check_card
from tests.unit.metrics.checkpoints import FOLDERS, picture

WITH_TEXT = ["image_reward", "hpsv2", "hpsv2.1", "pickscore", "clip_score"]


HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cards(loaded: Any, weights: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The supported metrics that have a tiny checkpoint; HPSv2 of version 2.0 has files of its own name."""
    folder = tmp_path_factory.mktemp("hpsv2")
    for path in weights["hpsv2.1"].iterdir():
        (folder / path.name.replace("v2.1_", "v2_")).write_bytes(path.read_bytes())
    return {**loaded, "hpsv2": metrics.load("hpsv2", weights=folder)}


@pytest.mark.slow
def test_no_metric_is_left_out(cards: dict[str, Any]) -> None:
    """Every supported metric is checked below, or by `check_card` in a test of its own."""
    own = {
        name
        for path in HERE.glob("test_*.py")
        if "check_card(" in (text := path.read_text(encoding="utf-8"))
        for name in re.findall(r'metrics\.load\(\s*"([\w.@]+)"', text)
    }
    geneval2 = {facts.name for _, facts in BUILTIN if facts.name.startswith("geneval2")}  # by a parameter
    assert {facts.name for _, facts in BUILTIN if not facts.unsupported} <= {*cards, *own, *geneval2}


@pytest.mark.parametrize("name", [*FOLDERS, "hpsv2"])
def test_cards_are_complete(name: str, cards: dict[str, Any]) -> None:
    check_card(cards[name])


def test_the_revision_is_that_of_the_hub_or_of_a_release(
    weights: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--a--b" / "snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(weights["pickscore"], snapshot)
    for name in ("pickscore", "clip_diversity", "cmmd"):
        assert metrics.load(name, weights=snapshot).card.to_dict()["revision"] == commit
    assert (
        metrics.load("pickscore", weights=snapshot).card.digest
        == metrics.load("pickscore", weights=weights["pickscore"]).card.digest
    )  # where files lie decides no value
    assert revision_of([], metrics.info("fid").weights or "") == "v0.2.0"
    assert revision_of([], metrics.info("aesthetic").weights or "") == "6934dd81792f086e613a121dbce43082cb8be85e"
    assert revision_of([tmp_path / "snapshots" / "x"], "someone/model") is None


@pytest.mark.parametrize("name", [*FOLDERS, "hpsv2"])
def test_token_limit_where_there_are_tokens(name: str, cards: dict[str, Any]) -> None:
    settings = cards[name].card.settings
    if name not in WITH_TEXT:
        assert "max_tokens" not in settings
        return
    assert settings["max_tokens"] == (35 if name == "image_reward" else 20)
    assert settings["longer_prompts"] == "cut, keeping the end token"


@pytest.mark.parametrize("name", ["clip_score", "pickscore", "aesthetic", "dino", "clip_diversity", "cmmd"])
def test_mean_and_deviation_are_those_that_are_used(name: str, loaded: Any) -> None:
    metric = loaded[name]
    grey = metric.prepare(picture(0).point(lambda value: 0))
    wanted = [-mean / deviation for mean, deviation in zip(*spread(metric), strict=True)]
    assert_close(grey.mean(dim=(1, 2)), wanted)


def spread(metric: Any) -> tuple[list[float], list[float]]:
    return metric.card.settings["mean"], metric.card.settings["deviation"]


def test_longer_prompts_are_cut_as_the_card_says(loaded: Any) -> None:
    """The end token stays, so that a cut prompt is still read to its end."""
    for name in ("pickscore", "clip_score"):
        metric = loaded[name]
        long = metric.score([picture(0)], ["red " * 18])  # 18 and the two ends: all of it
        longer = metric.score([picture(0)], ["red " * 60])
        assert torch.equal(long, longer)


def test_cut_prompts_are_counted() -> None:
    assert cut_notes(0, 6) == []
    assert cut_notes(1, 6) == ["1 prompt longer than 6 tokens was cut"]
    assert cut_notes(3, 6) == ["3 prompts longer than 6 tokens were cut"]


@pytest.mark.parametrize("name", [name for name in WITH_TEXT if name != "hpsv2"])
def test_prompts_are_counted_whoever_scored_them(name: str, loaded: Any) -> None:
    """A run that goes on after an interruption tells of all its prompts, not of those of the last part only."""
    metric = loaded[name]
    limit = metric.card.settings["max_tokens"]
    prompts = ["small", "red " * (limit + 1), "blue " * (limit + 1), "red " * (limit + 1), "red " * (limit - 2)]
    assert metric.notes_for(prompts) == [f"2 prompts longer than {limit} tokens were cut"]
    assert metric.notes_for(prompts[:2]) == [f"1 prompt longer than {limit} tokens was cut"]
    assert metric.notes_for(["small"]) == metric.notes_for([]) == []


def test_options_and_dtype_are_in_the_digest(weights: dict[str, Path], loaded: Any) -> None:
    digests = {loaded["clip_score"].card.digest}
    for changes in ({"dtype": "bfloat16"}, {"variant": "paper"}):
        digests.add(metrics.load("clip_score", weights=weights["clip_score"], **changes).card.digest)
    assert len(digests) == 3


def test_files_of_one_name_are_not_taken_for_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(name)
    paths = [tmp_path / name / "model.safetensors" for name in ("a", "b")]
    with pytest.raises(metrics.MetricError, match=r"two files of one metric are named 'model\.safetensors'"):
        digest_files(paths)
    both = digest_files({"head": paths[0], "clip": paths[1]})
    assert len(set(both.values())) == 2
    assert digest_files([tmp_path]) == {"a/model.safetensors": both["head"], "b/model.safetensors": both["clip"]}
    card = make_card(metrics.info("lpips"), Request(weights="x"), {"head": paths[0], "clip": paths[1]}, {})
    assert card.weights == both
