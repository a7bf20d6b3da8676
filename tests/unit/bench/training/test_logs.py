"""The log, and what stops a training."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import BenchError
from bench.training.logs import Log, Watch
from bench.training.probe import pixel_diversity, to_grid


def test_a_log_goes_on_where_the_state_was_saved(tmp_path: Path) -> None:
    first = Log(tmp_path).open()
    for step in range(1, 6):
        first.write(step, {"loss": step / 3, "seconds": 1.0})
    first.close()
    with (tmp_path / "log.csv").open("a") as file:
        file.write("6,0.1")  # cut in half by a kill
    again = Log(tmp_path, after=3).open()
    again.write(4, {"loss": 0.5, "reward": 1.25, "seconds": 2.0})
    again.close()
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[0] == {**dict.fromkeys(rows[0], ""), "step": "1", "loss": "0.333333", "seconds": "1"}
    assert rows[3]["reward"] == "1.25"


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = Log(tmp_path).open()
    log.write(1, {"loss": 2.0, "seconds": 1.0})
    log.write(2, {"loss": 1.0, "seconds": 2.0})
    log.grid(2, torch.zeros(3, 8, 8, dtype=torch.uint8))
    log.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(point.step, point.value) for point in events.Scalars("loss")] == [(1, 2.0), (2, 1.0)]
    assert events.Tags()["images"] == ["samples"]


def test_a_sample_grid_is_a_png(tmp_path: Path) -> None:
    rows = [torch.full((2, 3, 4, 4), shade, dtype=torch.uint8) for shade in (0, 100)]
    log = Log(tmp_path).open()
    log.grid(7, to_grid(rows, gap=1))
    log.close()
    with Image.open(tmp_path / "samples" / "step-000007.png") as image:
        pixels = np.asarray(image)
    assert pixels.shape == (9, 9, 3)
    assert pixels[0, 0, 0] == 0
    assert pixels[5, 0, 0] == 100
    assert pixels[4, 4, 0] == 255


def test_pixel_diversity() -> None:
    images = torch.zeros(3, 3, 2, 2, dtype=torch.uint8)
    assert pixel_diversity(images) == 0.0
    images[2] = 255
    assert pixel_diversity(images) == pytest.approx(2 / 3)
    assert np.isnan(pixel_diversity(images[:1]))


def test_a_reward_that_collapses_stops_the_training() -> None:
    watch = Watch()
    rng = np.random.default_rng(0)
    for step in range(1, 200):
        watch.check(step, 1.0 + 0.1 * rng.standard_normal(), 1.0, False)  # noise alone does not
    falls = (watch.check(step, -1.0, 1.0, False) for step in range(200, 240))
    with pytest.raises(
        BenchError, match=r"stopped at step 2\d\d: the reward collapsed from 0\.98\d* to .*last checkpoint"
    ):
        list(falls)


def test_a_climbing_reward_never_stops() -> None:
    watch = Watch()
    for step in range(1, 300):
        watch.check(step, step / 100, 1.0, False)


def test_a_loss_scaler_may_leave_out_updates_but_not_for_ever() -> None:
    watch = Watch()
    for step in range(1, 11):
        watch.check(step, 1.0, float("inf"), True)
    with pytest.raises(BenchError, match="the gradient is not finite"):
        watch.check(11, 1.0, float("inf"), True)
    with pytest.raises(BenchError, match="the gradient is not finite"):
        Watch().check(1, None, float("nan"), False)
    with pytest.raises(BenchError, match="the reward is nan"):
        Watch().check(1, float("nan"), 1.0, True)


def test_what_is_wrong_before_anything_was_learnt_is_not_the_learning_rate() -> None:
    for reward, norm, said in ((1.0, 0.0, "the gradient is zero"), (1.0, float("nan"), "not finite")):
        with pytest.raises(BenchError, match=f"stopped at step 1: .*{said}.*no weight was changed yet"):
            Watch().check(1, reward, norm, False)
    with pytest.raises(BenchError, match="stopped at step 2: .*Lower --learning-rate"):
        Watch().check(2, float("nan"), 1.0, False)
