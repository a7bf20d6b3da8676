"""What a training tells: a CSV row an update, the same for TensorBoard, sample grids as PNG, and when it goes wrong."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.store.atomic import atomic_write

COLUMNS = (
    "step", "loss", "reward", "gradient_norm", "learning_rate", "denoising", "clip", "kl", "l2",
    "probe_diversity", "seconds",
)  # fmt: skip
COLLAPSE_WINDOW = 20
COLLAPSE_DEVIATIONS = 6.0


@dataclass(slots=True)
class Log:
    """The log of one training, in a folder of its own; rows behind the step it goes on from are dropped."""

    folder: Path
    after: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    _file: Any = None
    _board: Any = None

    def open(self) -> Log:
        """Open the files; a training that goes on keeps the rows up to its step."""
        from torch.utils.tensorboard import SummaryWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "log.csv"
        kept = _rows(path, self.after) if self.after else []
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        atomic_write(path, text.getvalue())
        self.rows = kept
        self._file = path.open("a", newline="", encoding="utf-8")
        # Where it goes on, TensorBoard hides what an interrupted process wrote past that step.
        self._board = SummaryWriter(str(self.folder), purge_step=self.after + 1 if self.after else None)
        return self

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One update: names of COLUMNS -> values; those that are left out stay empty."""
        row = {"step": step, **{name: f"{value:.6g}" for name, value in values.items()}}
        csv.DictWriter(self._file, COLUMNS, lineterminator="\n").writerow(row)
        self._file.flush()
        self.rows.append(row)
        for name, value in values.items():
            if name != "seconds":
                self._board.add_scalar(name, value, step)

    def grid(self, step: int, images: Any) -> None:
        """A sample grid, uint8 [3, H, W], as samples/step-NNNNNN.png and in TensorBoard."""
        from PIL import Image

        data = io.BytesIO()
        Image.fromarray(images.permute(1, 2, 0).contiguous().numpy()).save(data, format="PNG")
        atomic_write(self.folder / "samples" / f"step-{step:06d}.png", data.getvalue())
        self._board.add_image("samples", images, step)

    def close(self) -> None:
        """Flush and close."""
        for file in (self._file, self._board):
            if file is not None:
                file.close()


def _rows(path: Path, up_to: int) -> list[dict[str, Any]]:
    """The rows of a log up to a step; a row that a kill cut in half is left out."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values() and (row["step"] or "").isdigit()]
    return [row for row in rows if int(row["step"]) <= up_to]


@dataclass(slots=True)
class Watch:
    """Stops a training that cannot be saved any more: numbers that are not finite, or a reward that collapses.

    Collapse: the mean reward of the last 20 updates lies more than 6 deviations below the mean of the first 20
    (deviation: of the first 20 updates' batch means). Climbing is the point, so falling that far is no noise.
    """

    rewards: list[float] = field(default_factory=list)
    skipped: int = 0

    def check(self, step: int, reward: float | None, norm: float, skips: bool) -> None:
        """Raise BenchError if update `step` shows that the training went wrong.

        `skips`: a loss scaler is at work, which leaves out single updates whose gradient is not finite.
        """
        self.skipped = 0 if math.isfinite(norm) else self.skipped + 1
        if reward is not None and not math.isfinite(reward):
            raise _stopped(step, f"the reward is {reward}")
        if self.skipped and (not skips or self.skipped > 10):
            raise _stopped(step, "the gradient is not finite")
        if step == 1 and norm == 0.0:
            raise _stopped(step, "the gradient is zero: the reward does not follow the pixels (thresholds, rounding)")
        if reward is None:
            return
        self.rewards.append(reward)
        first, last = self.rewards[:COLLAPSE_WINDOW], self.rewards[-COLLAPSE_WINDOW:]
        if len(self.rewards) < 2 * COLLAPSE_WINDOW:
            return
        before, now = statistics.fmean(first), statistics.fmean(last)
        if now < before - COLLAPSE_DEVIATIONS * statistics.stdev(first):
            raise _stopped(step, f"the reward collapsed from {before:.4g} to {now:.4g}")


def _stopped(step: int, why: str) -> BenchError:
    if step == 1:  # nothing was learnt yet
        return BenchError(
            f"training stopped at step 1: {why}; no weight was changed yet, so the reward, the data or the weights "
            "that it starts from are at fault."
        )
    return BenchError(
        f"training stopped at step {step}: {why}; the last checkpoint is kept. Lower --learning-rate, or restart "
        "with --resume never."
    )
