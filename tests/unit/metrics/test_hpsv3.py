"""HPSv3 against what its own classes gave (tests/data/hpsv3/record.py), and the mistakes that a port invites."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import metrics
from metrics.image import hpsv3
from metrics.image.hpsv3 import target_size
from tests.unit.metrics.card_checks import check_card

DATA = Path(__file__).parents[2] / "data" / "hpsv3"
RECORDED = json.loads((DATA / "recorded.json").read_text(encoding="utf-8"))


def picture(row: dict[str, Any]) -> Image.Image:
    """As the recording program draws it."""
    small = np.random.default_rng(row["seed"]).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(tuple(row["size"]), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def scorer() -> Any:
    return metrics.load("hpsv3", weights=DATA)


def worst(found: torch.Tensor) -> float:
    """The largest difference to the recorded values, over their spread."""
    wanted = torch.tensor([row["logits"] for row in RECORDED])
    return float((found - wanted).abs().max() / wanted.std())


def found_by(scorer: Any) -> torch.Tensor:
    return torch.cat([scorer.distribution([picture(row)], [row["prompt"]]) for row in RECORDED])


@pytest.mark.slow
def test_values_are_the_originals(scorer: Any) -> None:
    assert worst(found_by(scorer)) < 1e-4
    values = scorer.score([picture(row) for row in RECORDED], [row["prompt"] for row in RECORDED])
    assert values.tolist() == pytest.approx([row["logits"][0] for row in RECORDED], abs=1e-5)
    assert not values.requires_grad


def test_inputs_are_the_originals(scorer: Any) -> None:
    for row in RECORDED:
        pixels, grid = scorer.prepare(picture(row))
        assert list(target_size(*row["size"])) == row["resized"]
        assert grid.tolist() == row["grid"]
        assert [float(pixels.double().mean()), float(pixels.double().std())] == pytest.approx(row["pixels"], abs=1e-5)
        ids = scorer.tokens(row["prompt"], int(grid.prod()) // 4)
        assert ids.shape[1] == row["tokens"]
        assert ids[0, -40:].tolist() == row["ids"]


@pytest.mark.slow
@pytest.mark.parametrize("mistake", ["rows and columns", "last token", "no system message", "squash", "stripped"])
def test_a_mistake_of_a_port_is_caught(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = metrics.load("hpsv3", weights=DATA)
    network = scorer.network
    if mistake == "rows and columns":  # what the base class does: image tokens numbered by row and column

        def read(ids: Any, pixels: Any, grid: Any, place: int) -> Any:
            kinds = (ids == network.image_token).int()
            out = network.backbone(input_ids=ids, pixel_values=pixels, image_grid_thw=grid, mm_token_type_ids=kinds)
            return network.head(out.last_hidden_state[0, place])

        monkeypatch.setattr(network, "read", read)
    elif mistake == "last token":
        right = network.read
        monkeypatch.setattr(network, "read", lambda ids, pixels, grid, place: right(ids, pixels, grid, -1))
    elif mistake == "no system message":
        monkeypatch.setattr(hpsv3, "_SYSTEM", "<|im_start|>user\n<|vision_start|>")
    elif mistake == "squash":
        monkeypatch.setattr(hpsv3, "target_size", lambda width, height: (448, 448))
    else:  # the instruction's lines end in spaces here and there
        scorer._instruction = "\n".join(line.rstrip() for line in scorer._instruction.split("\n"))
    assert worst(found_by(scorer)) > 0.01


def test_the_card_says_what_is_not_verified(scorer: Any) -> None:
    card = scorer.card.to_dict()
    check_card(metrics.load("hpsv3", weights=DATA))
    assert card["published"] == "MizzenAI/HPSv3:HPSv3.safetensors"
    assert "unverified" in card["settings"]["chat_template"]
    assert "unverified" in card["settings"]["published_keys"]
    assert {"HPSv3.safetensors", "config.json", "vocab.json"} <= set(card["weights"])
    assert metrics.info("hpsv3").megabytes == 16_500


def test_todays_key_names_are_read_too(tmp_path: Path, scorer: Any) -> None:
    folder = tmp_path / "new"
    shutil.copytree(DATA, folder)
    state = load_file(DATA / "HPSv3.safetensors")
    renamed = {
        ("model." + key if key.startswith("visual.") else key.replace("model.", "model.language_model.")): value
        for key, value in state.items()
    }
    save_file({key: value.clone() for key, value in renamed.items()}, folder / "HPSv3.safetensors")
    row = RECORDED[0]
    new = metrics.load("hpsv3", weights=folder).score([picture(row)], [row["prompt"]])
    assert new.tolist() == scorer.score([picture(row)], [row["prompt"]]).tolist()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("drop rm_head.5.weight", "keys are missing, first '4.weight'"),
        ("drop model.norm.weight", "keys are missing, first 'language_model.norm.weight'"),
        ("add extra.weight", "keys are unexpected, first 'extra.weight'"),
        ("cut the embedding", "do not belong together"),
    ],
)
def test_another_file_is_refused(change: str, words: str, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    shutil.copytree(DATA, folder)
    state = load_file(DATA / "HPSv3.safetensors")
    verb, _, key = change.partition(" ")
    if verb == "drop":
        del state[key]
    elif verb == "add":
        state[key] = torch.zeros(3)
    else:
        state["model.embed_tokens.weight"] = state["model.embed_tokens.weight"][:-1].clone()
    save_file(state, folder / "HPSv3.safetensors")
    with pytest.raises(metrics.MissingWeightsError, match=words):
        metrics.load("hpsv3", weights=folder)


def test_input_that_it_cannot_read(scorer: Any) -> None:
    image = Image.new("RGB", (2010, 10))
    with pytest.raises(metrics.BadInputError, match="more than 200 times"):
        scorer.score([image], ["a"])
    with pytest.raises(metrics.BadInputError, match=r"holds <\|Reward\|>"):
        scorer.score([Image.new("RGB", (64, 64))], ["a <|Reward|> b"])
    with pytest.raises(metrics.MetricError, match="needs the prompts"):
        scorer.score([Image.new("RGB", (64, 64))])
    with pytest.raises(metrics.MetricError, match="chosen by the option backbone_dtype"):
        metrics.load("hpsv3", weights=DATA, dtype="bfloat16")
    half = metrics.load("hpsv3", weights=DATA, backbone_dtype="bfloat16")
    assert half.card.settings["backbone_dtype"] == "bfloat16"
    row = RECORDED[0]
    assert float(half.score([picture(row)], [row["prompt"]])) == pytest.approx(row["logits"][0], abs=0.02)
