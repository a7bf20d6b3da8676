"""How a run is cut into chunks: by the images' number and by what each of them takes decoded."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import bench.scoring.chunking as stage
from bench.scoring.missing import target_of
from tests.unit.bench.scoring.fakes import run_of


def test_large_images_after_small_ones_make_smaller_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"p{index}" for index in range(8)]
    store = run_of(tmp_path, {name: [20, 30] for name in names})
    run = target_of(store)
    for name in names[4:]:
        for row in run.images[name]:
            Image.new("RGB", (80, 80)).save(store.path / row.path)
    monkeypatch.setattr(stage, "CHUNK_BYTES", 4 * 3 * 80 * 80)
    chunks = list(stage.chunks(run))
    assert chunks == [["p0", "p1", "p2", "p3", "p4"], ["p5", "p6"], ["p7"]]
    (store.path / run.images["p7"][0].path).write_bytes(b"no image")
    assert [name for chunk in stage.chunks(run) for name in chunk] == names
    monkeypatch.setattr(stage, "CHUNK", 4)
    assert max(map(len, stage.chunks(run))) == 2
