"""The example of a metric of one's own, docs/examples/aesthetic_v25.py, on tiny weights of its form."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import metrics
from metrics import catalogue
from metrics.errors import MissingWeightsError
from tests.tolerance import assert_close
from tests.unit.metrics.checkpoints import picture

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "aesthetic_v25.py"
WIDTHS = (32, 16, 8, 4, 2, 1)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    importlib.import_module("aesthetic_v25")
    yield
    for table in (catalogue._FACTS, catalogue._TARGETS):
        table.pop("aesthetic_v25")
    del sys.modules["aesthetic_v25"]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, dict[str, torch.Tensor]]:
    """A head and a SigLIP in the layout of their publishers."""
    from transformers import SiglipConfig, SiglipModel

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": 40, "max_position_embeddings": 8, "pad_token_id": 1, "bos_token_id": 2}
    torch.manual_seed(0)
    config = SiglipConfig(text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 8})
    SiglipModel(config).save_pretrained(tmp_path / "siglip")
    processor = {"resample": 3, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 32, "width": 32}}
    (tmp_path / "siglip" / "preprocessor_config.json").write_text(json.dumps(processor))
    state = {}
    for index, (into, out) in enumerate(itertools.pairwise(WIDTHS)):
        state[f"layers.{2 * index}.weight"] = torch.randn(out, into)  # dropouts stand between them
        state[f"layers.{2 * index}.bias"] = torch.randn(out)
    torch.save(state, tmp_path / "head.pth")
    return tmp_path / "head.pth", tmp_path / "siglip", state


@pytest.mark.usefixtures("registered")
def test_the_value_is_the_head_of_the_normalised_pooled_embedding(
    folders: tuple[Path, Path, dict[str, torch.Tensor]],
) -> None:
    from transformers import SiglipModel

    head, siglip, state = folders
    frames = [picture(seed, 40, 56) for seed in range(4)]
    metric = metrics.load("aesthetic_v25", weights=head, siglip=str(siglip))
    vision = SiglipModel.from_pretrained(siglip).eval().vision_model
    with torch.no_grad():
        rows = vision(pixel_values=torch.stack([metric.encoder.prepare(frame) for frame in frames])).pooler_output
    rows = rows / rows.norm(dim=-1, keepdim=True)
    for layer in range(len(WIDTHS) - 1):
        rows = rows @ state[f"layers.{2 * layer}.weight"].T + state[f"layers.{2 * layer}.bias"]
    assert_close(metric.score(frames), rows[:, 0])
    assert float(metric.score(frames).std()) > 0
    assert {"head", "siglip/config.json"} <= set(metric.card.to_dict()["weights"])


@pytest.mark.usefixtures("registered")
def test_what_is_missing_or_of_another_form_is_said(folders: tuple[Path, Path, dict[str, torch.Tensor]]) -> None:
    head, siglip, _ = folders
    with pytest.raises(MissingWeightsError, match="name both files"):
        metrics.load("aesthetic_v25", weights=head)
    torch.save({"mlp.0.weight": torch.ones(2, 2)}, head)
    with pytest.raises(MissingWeightsError, match=r"no keys layers\.N\.weight"):
        metrics.load("aesthetic_v25", weights=head, siglip=str(siglip))
