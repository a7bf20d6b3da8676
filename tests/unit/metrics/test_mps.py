"""MPS on a small model of the published layout, against a plain reading of the authors' formulas."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

import metrics
from metrics.image.mps import _CONDITION
from metrics.networks.cross_modelling import CrossModel
from tests.tolerance import assert_parity
from tests.unit.metrics.card_checks import check_card
from tests.unit.metrics.checkpoints import make_clip, picture

PROMPTS = ["a red circle", "two blue stars, large", "a red circle"]
WIDTH, HEAD = 24, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the conversion of the published weights: one file with the keys mps.model.* and mps.cross_model.*."""
    made = make_clip(tmp_path_factory.mktemp("mps") / "clip")
    state = {f"mps.model.{key}": value for key, value in load_file(made / "model.safetensors").items()}
    torch.manual_seed(3)
    cross = CrossModel(WIDTH, layers=2, head=HEAD).state_dict()
    scaled = {
        key: value * 4
        if value.dim() == 2
        else value + 0.3 * torch.rand_like(value)
        if key.endswith("weight")
        else value
        for key, value in cross.items()
    }
    state |= {f"mps.cross_model.{key}": value for key, value in scaled.items()}
    save_file({key: value.contiguous() for key, value in state.items()}, made / "model.safetensors")
    return made


def norm(x: Any, weight: Any) -> Any:
    """Over the last axis, without an offset."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def gated(both: Any) -> Any:
    half = both.shape[-1] // 2
    gate = both[..., half:]
    return both[..., :half] * gate / (1 + (-gate).exp())


def turn(vector: Any, place: int, frequencies: Any) -> Any:
    """One head's vector at one place: each pair of coordinates (i, i + d/2) is turned by its angle."""
    half = len(vector) // 2
    out = vector.clone()
    for i in range(half):
        angle = place * float(frequencies[i])
        a, b = float(vector[i]), float(vector[i + half])
        out[i] = a * math.cos(angle) - b * math.sin(angle)
        out[i + half] = b * math.cos(angle) + a * math.sin(angle)
    return out


def plain_cross(state: dict[str, Any], tokens: Any, words: Any, kept: list[bool]) -> Any:
    """The layers token by token and head by head: tokens [N, D], words [M, D]."""
    chosen = [j for j, keep in enumerate(kept) if keep]
    for layer in range(2):
        first, second = f"layers.{layer}.0.fn.", f"layers.{layer}.1.fn."
        normed = norm(tokens, state[first + "norm.weight"])
        keys, values = (words @ state[first + "to_kv.weight"].T).split(HEAD, dim=-1)
        rows = []
        for token in normed:
            query = state[first + "to_q.weight"] @ token
            heads = []
            for h in range(WIDTH // HEAD):
                part = query[h * HEAD : (h + 1) * HEAD]
                scores = torch.stack([part @ keys[j] for j in chosen]) / math.sqrt(HEAD)
                shares = scores.exp() / scores.exp().sum()
                heads.append(sum(share * values[j] for share, j in zip(shares, chosen, strict=True)))
            fed = gated(state[first + "ff.0.weight"] @ token) @ state[first + "ff.2.weight"].T
            rows.append(state[first + "to_out.weight"] @ torch.cat(heads) + fed)
        tokens = tokens + torch.stack(rows)
        normed = norm(tokens, state[second + "norm.weight"])
        sizes = [WIDTH, HEAD, HEAD, 8 * WIDTH]
        queries, keys, values, more = (normed @ state[second + "fused_attn_ff_proj.weight"].T).split(sizes, dim=-1)
        frequencies = state[second + "rotary_emb.inv_freq"]
        keys = torch.stack([turn(key, n, frequencies) for n, key in enumerate(keys)])
        rows = []
        for n, query in enumerate(queries):
            heads = []
            for h in range(WIDTH // HEAD):
                part = turn(query[h * HEAD : (h + 1) * HEAD], n, frequencies)
                scores = (keys @ part) / math.sqrt(HEAD)
                heads.append((scores.exp() / scores.exp().sum()) @ values)
            fed = state[second + "ff_out.1.weight"] @ gated(more[n])
            rows.append(state[second + "attn_out.weight"] @ torch.cat(heads) + fed)
        tokens = tokens + torch.stack(rows)
    return tokens


def plain_score(folder: Path, metric: Any, image: Image.Image, prompt: str, threshold: float = 0.01) -> float:
    """The value of one pair, from the file's tensors."""
    state = load_file(folder / "model.safetensors")
    cross = {key.removeprefix("mps.cross_model."): value for key, value in state.items() if "cross_model" in key}
    clip = CLIPModel(CLIPModel.config_class.from_pretrained(folder)).eval()
    clip.load_state_dict({key.removeprefix("mps.model."): v for key, v in state.items() if ".model." in key})

    def words(text: str) -> tuple[Any, list[int]]:
        ids = metric.tokenizer(text, padding="max_length", truncation=True, max_length=20).input_ids
        assert len(ids) == 20
        hidden = clip.text_model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        return hidden @ clip.text_projection.weight.T, ids

    with torch.no_grad():
        of_prompt, ids = words(prompt)
        of_condition, _ = words(_CONDITION.read_text())
        seen = clip.vision_model(pixel_values=metric.prepare(image)[None]).last_hidden_state[0]
        tokens = seen @ clip.visual_projection.weight.T
        most = [max(float(word @ other) for other in of_condition) for word in of_prompt]
        kept = [value / max(most) > threshold for value in most]
        first = plain_cross(cross, tokens, of_prompt, kept)[0]
        end = of_prompt[ids.index(max(ids))]
        cosine = float(first @ end / first.norm() / end.norm())
        return float(clip.logit_scale.exp()) * cosine


def test_it_equals_a_plain_reading(folder: Path) -> None:
    metric = metrics.load("mps", weights=str(folder))
    images = [picture(1), picture(2, 40, 64), picture(3)]
    values = metric.score(images, PROMPTS).tolist()
    wanted = [plain_score(folder, metric, one, prompt) for one, prompt in zip(images, PROMPTS, strict=True)]
    exchanged = [
        plain_score(folder, metric, one, prompt) for one, prompt in zip(images, PROMPTS[1:] + PROMPTS[:1], strict=True)
    ]
    assert_parity("mps", values, wanted, "prompts exchanged", exchanged, rel=2e-5)
    assert max(values) - min(values) > 0.05  # the pictures and prompts do matter
    alone = [metric.score([one], [prompt]).item() for one, prompt in zip(images, PROMPTS, strict=True)]
    assert alone == values


def test_the_threshold_masks_words(folder: Path) -> None:
    metric = metrics.load("mps", weights=str(folder), threshold=0.95)
    loose = metrics.load("mps", weights=str(folder))
    value = metric.score([picture(1)], [PROMPTS[1]]).item()
    assert value == pytest.approx(plain_score(folder, metric, picture(1), PROMPTS[1], 0.95), rel=2e-5)
    assert abs(value - loose.score([picture(1)], [PROMPTS[1]]).item()) > 1e-4
    assert metric.card.digest != loose.card.digest


def test_it_computes_at_the_precision_of_its_card(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = metrics.load("mps", weights=str(folder))
    seen, plain = [], metric.prepare

    def watching(image: Image.Image) -> Any:
        seen.append(torch.backends.cudnn.allow_tf32)
        return plain(image)

    monkeypatch.setattr(metric, "prepare", watching)
    metric.score([picture(1)], PROMPTS[:1])
    assert seen == [False]


def test_card_and_half_precision(folder: Path) -> None:
    metric = metrics.load("mps", weights=str(folder))
    check_card(metric)
    assert "unverified" in metric.card.settings["published_keys"]
    half = metrics.load("mps", weights=str(folder), dtype="bfloat16").score([picture(1)], PROMPTS[:1])
    whole = metric.score([picture(1)], PROMPTS[:1])
    assert half.item() == pytest.approx(whole.item(), rel=0.2)


def test_a_state_dict_of_ones_own_is_read(folder: Path, tmp_path: Path) -> None:
    state = {k.removeprefix("mps."): v for k, v in load_file(folder / "model.safetensors").items()}
    for name in ("config.json", "vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    torch.save(state, tmp_path / "mps.pt")
    images = [picture(4)]
    found = metrics.load("mps", weights=str(tmp_path / "mps.pt")).score(images, PROMPTS[:1])
    assert torch.equal(found, metrics.load("mps", weights=str(folder)).score(images, PROMPTS[:1]))


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    torch.save(CrossModel(WIDTH, 1, HEAD), tmp_path / "MPS_overall_checkpoint.pth")  # a pickled module
    with pytest.raises(metrics.MissingWeightsError, match="runs code when it is loaded"):
        metrics.load("mps", weights=str(tmp_path / "MPS_overall_checkpoint.pth"))
    state = load_file(folder / "model.safetensors")
    for name in ("config.json", "vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    first = next(key for key in state if "to_q" in key)
    for changed, match in (
        ({**state, "head.weight": torch.zeros(1)}, "has a key 'head.weight'"),
        ({key: value for key, value in state.items() if "cross" not in key}, "needs keys model"),
        ({key: value for key, value in state.items() if key != first}, "to_q"),
        ({key: value for key, value in state.items() if "logit_scale" not in key}, "logit_scale"),
    ):
        save_file(changed, tmp_path / "model.safetensors")
        with pytest.raises(metrics.MissingWeightsError, match=match):
            metrics.load("mps", weights=str(tmp_path / "model.safetensors"))
    with pytest.raises(metrics.MetricError, match="threshold = 2 must be"):
        metrics.load("mps", weights=str(folder), threshold=2)
    with pytest.raises(metrics.MetricError, match="needs the prompts"):
        metrics.load("mps", weights=str(folder)).score([picture(1)])
    assert json.loads((folder / "config.json").read_text())["projection_dim"] == WIDTH
