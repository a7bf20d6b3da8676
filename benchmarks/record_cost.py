"""What it costs to record that images were made, by the number of prompts; before and after in one run.

    python benchmarks/record_cost.py [--records N]

*Before* is what version 1 did with each record: the whole manifest with its prompts written anew. *Now* only counts and
timings are written. Both with flushing to the disk; seconds of processor time and by the clock, median of N records.
The last column is the share of the main thread's processor time that five methods spend, each of which records every
three seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.generation.recording import SECONDS_BETWEEN_PARTS
from bench.store.atomic import atomic_write, to_json
from bench.store.records import ImageRow, Manifest
from bench.store.run_store import RunStore

PROMPTS = (250, 4_000, 16_000, 30_000)
METHODS = 5


def manifest_of(count: int) -> Manifest:
    """A run of so many prompts of usual length."""
    text = "a photograph of an old lighthouse on a cliff at dusk, waves breaking, number {}"
    prompts = [{"id": f"p{n:05d}", "text": text.format(n), "tags": ["place"]} for n in range(count)]
    return Manifest("cost", "base", "base@00000000", {}, {}, {}, prompts, 4, counts={"images": 0})


def timed(work: Callable[[], None], records: int) -> tuple[float, float]:
    """Median seconds of one call: by the processor, and by the clock."""
    found = []
    for _ in range(records):
        clock, processor = time.perf_counter(), time.process_time()
        work()
        found.append((time.process_time() - processor, time.perf_counter() - clock))
    return statistics.median(one for one, _ in found), statistics.median(one for _, one in found)


def measure(count: int, records: int) -> str:
    """A line of the table."""
    manifest = manifest_of(count)
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore.create(Path(folder), "cost", "base", "00000000")
        rows = [ImageRow(f"p{n:05d}", "a text", 0, 42, f"images/p{n:05d}/0.png", "ab" * 32, 1.0) for n in range(32)]
        with store.lock():
            for prompt in manifest.prompts:
                os.makedirs(store.image_path(prompt["id"], 0).parent)
            old = Path(folder) / "old.json"
            before = timed(lambda: atomic_write(old, to_json(manifest.to_dict())), records)
            whole = timed(lambda: store.write_manifest(manifest), records)
            now = timed(lambda: store.write_counts(manifest), records)
            part = timed(lambda: store.append_images(rows), records)
            read = timed(lambda: store.manifest(), records)  # type: ignore[arg-type]
    share = METHODS * (now[0] + part[0]) / SECONDS_BETWEEN_PARTS
    cells = [f"{1000 * one:.1f}" for pair in (before, now, part, whole, read) for one in pair]
    return f"| {count:,} | " + " | ".join(cells) + f" | {share:.2%} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20)
    records = parser.parse_args().records
    print("Milliseconds of the processor and of the clock.\n")
    names = ("before", "counts", "rows", "manifest", "reading it")
    heads = [f"{name} {unit}" for name in names for unit in ("cpu", "clock")]
    print("| prompts | " + " | ".join(heads) + " | five methods |")
    print("|---:" * (len(heads) + 2) + "|")
    for count in PROMPTS:
        print(measure(count, records), flush=True)


if __name__ == "__main__":
    main()
