"""Every mistake in what is scored: one clear sentence, nothing lost, the other metrics computed."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

WEIGHTS = Path(__file__).parents[2] / "bench" / "shapes" / "weights"
TEXT = "a red circle on a blue background"
SUITE = """
label = "shapes"
prompts = "shapes"
resolution = 64

[model]
weights = "shapes:pipeline"
"""
METRICS = {
    "pickscore": "shapes:pickscore",
    "hpsv2.1": "shapes:hpsv2",
    "image_reward": "shapes:image_reward",
    "lpips": "shapes:lpips",
}


def write_suite(path: Path, metrics: dict[str, str], options: str = "") -> Path:
    tables = [f'[metrics."{name}"]\nweights = "{weights}"\n' for name, weights in metrics.items()]
    path.write_text(SUITE + "\n".join(tables) + options, encoding="utf-8")
    return path


def picture(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def header_alone(width: int, height: int) -> bytes:
    """A PNG of 150 bytes that claims to be huge."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body


def put(folder: Path, prompt_id: str, sample: int, image: Image.Image | bytes, **options: Any) -> Path:
    path = folder / prompt_id / f"{sample}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, bytes):
        path.write_bytes(image)
    else:
        image.save(path, **options)
    return path


def write_prompts(path: Path, *ids: str, text: str = TEXT) -> Path:
    path.write_text("".join(json.dumps({"id": one, "text": text}) + "\n" for one in ids), encoding="utf-8")
    return path


@pytest.fixture
def odd_images(tmp_path: Path) -> Path:
    """Whatever people have in their folders, beside a good prompt."""
    folder = tmp_path / "odd"
    for sample in range(2):
        put(folder, "good", sample, picture(sample))
        put(folder, "pixel", sample, picture(2 + sample, (1, 1)))
    put(folder, "broken", 0, picture(4))
    whole = put(folder, "broken", 1, picture(5)).read_bytes()
    put(folder, "broken", 1, whole[: len(whole) // 2])
    put(folder, "palette", 0, picture(6).convert("P"), transparency=bytes(range(256)))
    put(folder, "palette", 1, picture(7).convert("P"), transparency=3)
    put(folder, "panorama", 0, picture(8, (20_000, 600)))
    put(folder, "huge", 0, header_alone(60_000, 60_000))
    put(folder, "huge", 1, header_alone(12_000, 9_000))
    put(folder, "stranger", 0, picture(9))
    return folder


# A child inherits the peak of the process that starts it (here the tests' own, of gigabytes): the command is started,
# and its peak read, by a small process between.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024))
sys.exit(code)
"""


def run_measured(command: list[str], environment: dict[str, str], folder: Path) -> tuple[int, str, int]:
    """Exit code, standard error, and the largest resident memory in bytes."""
    log, peak = folder / "stderr.txt", folder / "peak.txt"
    start = [sys.executable, "-c", MEASURE, str(peak), *command]
    with log.open("w", encoding="utf-8") as stream:
        # The small process itself inherits the large peak, but of its children it tells their own.
        done = subprocess.run(start, env=environment, stderr=stream, check=False)
    return done.returncode, log.read_text(encoding="utf-8"), int(peak.read_text())


def test_odd_images(bench_command, odd_images: Path, tidy, tmp_path: Path) -> None:
    prompts = write_prompts(
        tmp_path / "prompts.jsonl", "good", "pixel", "broken", "palette", "panorama", "huge", "none"
    )
    suite = write_suite(tmp_path / "odd.toml", METRICS)
    arguments = ["score", "--images", odd_images, "--prompts", prompts, "--name", "odd", "--suite", suite]
    results = tmp_path / "results"
    command = bench_command.command(*arguments, "--device", "cpu", "--results", results)
    code, said, peak = run_measured(command, bench_command.environment(), tmp_path)
    assert code == 0, said
    assert "Traceback" not in said
    assert "Warning" not in said
    assert peak < 2 << 30  # the panorama is 36 MB; what is beyond are the libraries
    lines = said.splitlines()
    assert sum("no images for 1 of 7 prompts (none)" in line for line in lines) == 1
    assert sum("1 files are ignored" in line and "stranger/0.png" in line for line in lines) == 1
    (faults,) = [line for line in lines if "3 images cannot be used" in line]
    assert "broken/1.png: it cannot be decoded" in faults
    assert "huge/0.png: it has more pixels than the 100,000,000 allowed" in faults
    assert "huge/1.png: it has 12000 x 9000 pixels, more than the 100,000,000 allowed" in faults
    assert any("images of 1 x 1 pixels are too small for LPIPS" in line for line in lines)

    rows = tidy(results)
    images = rows[rows["kind"] == "image"]
    assert set(images["metric"]) == {"pickscore", "hpsv2.1", "image_reward"}
    for _, mine in images.groupby("metric"):
        finite = {(row.prompt_id, row.sample) for row in mine.itertuples() if math.isfinite(row.value)}
        without = {(row.prompt_id, row.sample) for row in mine.itertuples() if isinstance(row.reason, str)}
        assert finite == {
            *(("good", 0), ("good", 1), ("pixel", 0), ("pixel", 1), ("broken", 0)),
            *(("palette", 0), ("palette", 1), ("panorama", 0)),
        }
        absent = {("panorama", 1), ("none", 0), ("none", 1)}  # expected, and without an image: unscored, not dropped
        assert without == {("broken", 1), ("huge", 0), ("huge", 1), *absent}
    groups = rows[rows["metric"] == "lpips"].set_index("prompt_id")
    assert set(groups.index[groups["value"].notna()]) == {"good", "palette"}
    assert groups.loc["panorama", "reason"] == "needs at least 2 images"


class Payload:
    """What a hostile checkpoint does when it is unpickled: here, only make a file."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.made),)


def copied(name: str, folder: Path) -> Path:
    shutil.copytree(WEIGHTS / name, folder)
    return folder


def test_bad_checkpoints(bench_command, tidy, tmp_path: Path) -> None:
    """A missing key, an extra one, code in place of weights; LPIPS is scored beside them all the same."""
    pickscore = copied("pickscore", tmp_path / "pickscore")
    state = load_file(pickscore / "model.safetensors")
    del state["visual_projection.weight"]
    save_file(state, pickscore / "model.safetensors", metadata={"format": "pt"})
    hps = copied("hpsv2", tmp_path / "hps")
    state = load_file(hps / "HPS_v2.1_shapes.safetensors")
    save_file({**state, "head.extra": torch.zeros(2)}, hps / "HPS_v2.1_shapes.safetensors")
    reward = copied("image_reward", tmp_path / "reward")
    (reward / "ImageReward.safetensors").unlink()
    marker = tmp_path / "code-was-run"
    payload = {"blip.visual_encoder.cls_token": Payload(marker)}
    (reward / "ImageReward.pt").write_bytes(pickle.dumps(payload))
    zipped = copied("hpsv2", tmp_path / "zipped")
    torch.save({"visual.conv1.weight": Payload(marker)}, zipped / "HPS_v2_compressed.pt")

    images = tmp_path / "images"
    for sample in range(2):
        put(images, "p", sample, picture(sample))
    prompts = write_prompts(tmp_path / "prompts.jsonl", "p")
    bad = {"pickscore": pickscore, "hpsv2.1": hps, "image_reward": reward, "hpsv2": zipped}
    weights = {name: str(folder) for name, folder in bad.items()} | {"lpips": "shapes:lpips"}
    suite = write_suite(tmp_path / "bad.toml", weights)
    results = tmp_path / "results"
    arguments = ["score", "--images", images, "--prompts", prompts, "--name", "mine", "--suite", suite]
    done = bench_command(*arguments, "--device", "cpu", "--results", results, code=4)
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "metric 'pickscore' could not be scored" in error
    assert "1 keys are missing, first 'visual_projection.weight'" in error
    assert "1 keys are unexpected, first 'head.extra'" in error
    assert "ImageReward.pt' cannot be read" in error
    assert "HPS_v2_compressed.pt' cannot be read" in error
    assert error.endswith("The other metrics are scored.")
    assert not marker.exists()
    pickle.loads((reward / "ImageReward.pt").read_bytes())
    assert marker.exists()  # read carelessly, it would have run
    rows = tidy(results)
    assert set(rows["metric"]) == {"lpips"}
    assert rows["value"].notna().all()


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_prompt_is_named_with_its_line(error_of, tmp_path: Path, text: str) -> None:
    put(tmp_path / "images", "p", 0, picture(0))
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"id": "a", "text": TEXT}) + "\n" + json.dumps({"id": "p", "text": text}) + "\n")
    sentence = error_of(
        2, "score", "--images", tmp_path / "images", "--prompts", prompts, "--name", "mine", "--suite", "shapes"
    )
    assert "line 2: the text of prompt 'p' is empty" in sentence


def test_images_of_no_prompt_at_all(error_of, tmp_path: Path) -> None:
    put(tmp_path / "images", "other", 0, picture(0))
    prompts = write_prompts(tmp_path / "prompts.jsonl", "p")
    sentence = error_of(
        2, "score", "--images", tmp_path / "images", "--prompts", prompts, "--name", "mine", "--suite", "shapes"
    )
    assert "contains no image of these prompts" in sentence
    assert "p/0.png" in sentence


def test_values_of_other_cards_are_not_put_side_by_side(bench_command, error_of, tmp_path: Path) -> None:
    """One run's HPSv2.1 with antialias, the other's without: report and check end with 3 and name the field."""
    images, results = tmp_path / "images", tmp_path / "results"
    for sample in range(2):
        put(images, "p", sample, picture(sample, (96, 80)))
    prompts = write_prompts(tmp_path / "prompts.jsonl", "p")
    plain = write_suite(tmp_path / "same.toml", {"hpsv2.1": "shapes:hpsv2"})
    common = ["--prompts", prompts, "--suite", plain, "--device", "cpu", "--results", results]
    bench_command("score", "--images", images, "--name", "one", *common)
    write_suite(plain, {"hpsv2.1": "shapes:hpsv2"}, options='[metrics."hpsv2.1".options]\nantialias = true\n')
    bench_command("score", "--images", images, "--name", "two", *common)
    sentence = error_of(3, "report", "one", "two", "--results", results)
    assert "metric hpsv2.1 was computed differently: settings.antialias False against True" in sentence
    gate = tmp_path / "gate.toml"
    gate.write_text('[one."hpsv2.1"]\nmin = -1.0\n[two."hpsv2.1"]\nmin = -1.0\n')
    sentence = error_of(3, "check", "one", "two", "--results", results, "--thresholds", gate)
    assert "settings.antialias False against True" in sentence
