"""What only a CUDA device shows: decoding beside the next batch, memory that is measured, the same pictures as here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.generation.batch_size import LARGEST, starting_size
from bench.models.load import load_model
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.tree import actions_of, build_tree
from tests.unit.bench.models.families import family_pipeline, tiny_network
from tests.unit.bench.models.tiny import tiny_suite

pytestmark = pytest.mark.gpu
ITEMS = [("p1", "a red circle", 0), ("p2", "a large star", 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gpu")
    tiny_network("sdxl", 5).save_pretrained(root / "tuned")
    return family_pipeline("sdxl", root / "pipeline")


def model_on(folder: Path, device: str) -> Any:
    suite = tiny_suite("EulerDiscreteScheduler", 4)
    suite.model.family = "sdxl"
    model: Any = load_model(folder, suite, device)
    model.add_network("tuned", folder.parent / "tuned")
    return model


def test_the_same_noise_gives_nearly_the_same_picture_as_on_the_processor(folder: Path) -> None:
    tree = build_tree({"combined": actions_of([0.0, 0.0, 1.0, 1.0], ("base", 3.0), ("tuned", 1.0))})
    found = []
    for device in ("cpu", "cuda"):
        model = model_on(folder, device)
        ((_, latents),) = run_tree(model, tree, as_batch(model, 7, ITEMS))
        found.append(model.decode(latents).int())
    assert int((found[0] - found[1]).abs().max()) <= 4  # TF32 and other kernels


def test_decoding_waits_in_another_thread(folder: Path) -> None:
    model = model_on(folder, "cuda")
    latents = torch.randn(4, 4, 8, 8, device="cuda")
    waiting = model.decoding(latents)
    latents.zero_()  # queued after the decoder: it may not be seen
    with ThreadPoolExecutor(1) as pool:
        pixels = pool.submit(waiting).result()
    assert pixels.device.type == "cpu"
    assert not torch.equal(pixels, model.decode(latents))


def test_the_probe_measures_and_encoders_leave(folder: Path) -> None:
    model = model_on(folder, "cuda")
    model.prepare(["a star"])
    assert {next(part.parameters()).device.type for part in model._encoders} == {"cpu"}
    assert starting_size(model, 32, ["a star"], 3.0) == LARGEST  # a tiny model fits any card
    assert model.encode(["a circle"]).states["text"].device.type == "cuda"
