"""Images from elsewhere reach a metric as their files are: in their own mode, or refused as `metrics` refuses them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

import metrics
from bench.pipeline import rescore
from bench.store.run_store import RunStore
from bench.suite.load import load_suite
from bench.suite.metric_spec import MetricSpec
from bench.suite.schema import Suite
from tests.tolerance import assert_close, relative_difference
from tests.unit.metrics.checkpoints import make_image_reward


def take(images: Path, suite: Suite, folder: Path) -> list[RunStore]:
    """The images as a run of the method "mine"."""
    return rescore.score(images=images, suite=suite, prompts=suite.prompts, name="mine", results=folder / "results")


def test_modes_are_those_of_the_file(tmp_path: Path) -> None:
    weights, folder, text = make_image_reward(tmp_path / "weights"), tmp_path / "mine" / "p", "a red circle"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 4)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "0.png")  # with alpha: the order of resize and RGB is seen
    Image.fromarray(noise[..., :3]).quantize(16).save(folder / "1.png")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 200).save(folder / "2.png")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(f'{{"id": "p", "text": "{text}"}}\n')
    spec = {"image_reward": MetricSpec(weights=str(weights))}
    suite = load_suite("shapes").model_copy(update={"metrics": spec, "prompts": str(prompts), "limit": None})
    (store,) = rescore.score(
        images=tmp_path / "mine", suite=suite, prompts=suite.prompts, name="mine", results=tmp_path / "results"
    )
    rows = {row.sample: row for row in store.scores("image_reward")}

    scorer = metrics.load("image_reward", weights=weights)
    frames = [Image.open(folder / f"{sample}.png") for sample in range(2)]
    wanted = scorer.score(frames, [text] * 2).tolist()
    assert_close([rows[sample].value for sample in range(2)], wanted)
    early = scorer.score([frame.convert("RGB") for frame in frames], [text] * 2).tolist()
    assert all(relative_difference(a, b) > 1e-4 for a, b in zip(wanted, early, strict=True))
    assert math.isnan(rows[2].value)
    assert "mode 'I;16', which has no agreed conversion" in str(rows[2].reason)
