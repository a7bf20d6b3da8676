"""Values of the official protocol from images to the table: names, cards and notes of their own, beside the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bench
from bench.analysis.compare import compare
from bench.analysis.table.build import build
from bench.errors import UsageError
from bench.gate.thresholds import parse_thresholds
from bench.reporting.tables import text
from bench.store.run_store import RunStore
from bench.store.runs import read_run

METRICS = ["hpsv2.1", "image_reward", "attribute_accuracy"]
CAPTIONS = ["a large red square in the middle", "a small blue star on the left"]


def adopted(folder: Path, name: str, protocol: str, seed: int) -> RunStore:
    """Noise of 64 x 64 pixels as a run."""
    images, prompts = folder / f"images-{name}", folder / "prompts.jsonl"
    draws = np.random.default_rng(seed)
    lines = []
    for number, caption in enumerate(CAPTIONS):
        (images / f"p{number}").mkdir(parents=True, exist_ok=True)
        lines.append(json.dumps({"id": f"p{number}", "text": caption}))
        for sample in range(3):
            pixels = draws.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(images / f"p{number}" / f"{sample}.png")
    prompts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (store,) = bench.score(
        images=images,
        suite="shapes",
        prompts=prompts,
        name=name,
        metrics=METRICS,
        protocol=protocol,
        results=folder / "results",
        device="cpu",
    )
    return store


@pytest.mark.slow
def test_official_values_stand_beside_the_others(tmp_path: Path, said: list[str]) -> None:
    store = adopted(tmp_path, "mine", "official", 1)
    assert set(store.score_metrics()) == {"hpsv2.1@official", "image_reward@official"}
    assert any("not scored by the official protocol, whose code does not compute them: attribute" in s for s in said)
    before = (store.path / "scores" / "hpsv2.1@official" / "card.json").read_text(encoding="utf-8")
    bench.score([store], results=tmp_path / "results", device="cpu")
    assert set(METRICS) < set(store.score_metrics())
    assert (store.path / "scores" / "hpsv2.1@official" / "card.json").read_text(encoding="utf-8") == before
    run = read_run(store)
    order = list(run.metrics)
    assert order.index("hpsv2.1@official") == order.index("hpsv2.1") + 1
    note = run.notes["hpsv2.1@official"][-1]
    assert note.startswith("the official code would log ")
    assert note.endswith("the mean of 1 batch of 6; no image had to be resized")
    shown = text(build([run]))
    words = " ".join(shown.split())  # heads are broken over lines
    assert all(word in words for word in ("HPSv2.1,", "official protocol"))
    values = [row.value for row in store.scores("hpsv2.1@official")]
    assert float(note.split()[5].rstrip(",")) == pytest.approx(np.mean(values), abs=2**-8)


@pytest.mark.slow
def test_the_two_protocols_are_never_compared(tmp_path: Path) -> None:
    a = adopted(tmp_path, "a", "official", 1)
    b = adopted(tmp_path, "b", "corrected", 2)
    comparison = compare(a, b)
    assert comparison.differences == ()
    told = next(note for note in comparison.notes if "scored in one run only" in note)
    assert "hpsv2.1, hpsv2.1@official" in told


def test_no_line_of_the_gate_joins_them() -> None:
    file = '[mine.dominates]\nover = "other"\non = ["hpsv2.1@official", "pickscore"]\n'
    with pytest.raises(UsageError, match=r"line 3: \[mine.dominates\] on mixes the official and the corrected"):
        parse_thresholds(file, "t.toml", ["mine", "other"], ["hpsv2.1@official", "pickscore"])
    file = '[mine."hpsv2.1@official"]\nmin = 0.2\n'
    (bound,) = parse_thresholds(file, "t.toml", ["mine"], ["hpsv2.1@official", "hpsv2.1"]).bounds
    assert bound.metric == "hpsv2.1@official"
