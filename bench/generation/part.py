"""What one of several workers makes of a run: its images, and what it spent on them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass, field

from bench.generation.cutting import noted
from bench.generation.recording import Run
from bench.runtime.memory import needed_memory
from bench.sampling.batches import Cut
from bench.store.records import ImageRow
from bench.store.shared_store import SharedRunStore
from bench.suite.plan import RunPlan


@dataclass(slots=True)
class Made:
    """What a worker hands to whoever records it: rows, costs, and the sizes that memory made it go down to."""

    rows: list[ImageRow] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory: int = 0
    device_memory: int = 0
    sizes: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Part:
    """A worker's part of a run (`bench.generation.recording.Recorder`). Nothing is recorded: `taken` hands it over."""

    plan: RunPlan
    store: SharedRunStore
    rows: list[ImageRow] = field(default_factory=list)
    counts: MutableMapping[str, int] = field(default_factory=Counter)
    seconds: float = 0.0
    device_memory: int = 0
    sizes: list[int] = field(default_factory=list)

    def record(self, after: float = 0.0) -> None:
        """Nothing: the images are on the disk, and their rows are handed over."""

    def resized(self, size: int) -> None:
        """Remember that batches became smaller."""
        self.sizes.append(size)

    def taken(self) -> Made:
        """What was made since the last time, with the images durable."""
        self.store.flush()
        made = Made(self.rows, dict(self.counts), self.seconds, needed_memory(), self.device_memory, self.sizes)
        self.rows, self.counts, self.seconds, self.sizes = [], Counter(), 0.0, []
        return made


@dataclass(slots=True)
class JournaledPart(Part):
    """A part that its worker records itself, in files of its own."""

    cut: Cut = field(default_factory=lambda: Cut(0, ()))
    least: float = 0.0  # seconds between two files of rows: many workers must not write as many as images
    recorded_at: float = field(default_factory=time.monotonic)

    def record(self, after: float = 0.0) -> None:
        """Record the saved images and what was spent, if the last time was more than `after` seconds ago."""
        if after and time.monotonic() - self.recorded_at < max(after, self.least):
            return
        made = self.taken()
        self.store.append_images(made.rows)
        spent = self.store.spent()
        for key, value in made.counts.items():
            spent["counts"][key] = int(spent["counts"].get(key, 0)) + value
        timings = spent["timings"]
        timings["generate_seconds"] = float(timings.get("generate_seconds") or 0.0) + made.seconds
        for key, peak in (("peak_memory_bytes", made.peak_memory), ("peak_device_memory_bytes", made.device_memory)):
            if peak:
                timings[key] = max(int(timings.get(key) or 0), peak)
        self.store.write_spent(spent)
        self.recorded_at = time.monotonic()

    def resized(self, size: int) -> None:
        """Keep in the manifest that batches became smaller."""
        with self.store.lock(clean=False):
            manifest = self.store.manifest()
            noted(manifest, self.cut, size)
            self.store.write_manifest(manifest)


def merge(run: Run, made: Made) -> None:
    """Add to a run what a worker made of it; the caller records it."""
    run.rows += made.rows
    for key, value in made.counts.items():
        run.counts[key] += value
    run.seconds += made.seconds
    run.device_memory = max(run.device_memory, made.device_memory)
    before = int(run.manifest.timings.get("peak_memory_bytes") or 0)
    run.manifest.timings["peak_memory_bytes"] = max(before, made.peak_memory)
    for size in made.sizes:
        run.resized(size)
