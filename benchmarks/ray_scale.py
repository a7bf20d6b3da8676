"""What it costs to make a run by several workers, that it is the same run, and how many workers one driver can lead.

    python benchmarks/ray_scale.py same [--prompts 64] [--kills 3] [--save faults.jsonl]     against one process
    python benchmarks/ray_scale.py overhead --prompts 250          processor time of the engine at 1 worker
    python benchmarks/ray_scale.py driver                          1,000 stub workers, 1,000,000 images

`same` makes `shapes` (base and imagerefl) by one process, by two workers of Ray (and counts the pictures of each), then
by 1, 2 and 3 workers, killing with SIGKILL a worker or the driver at random moments (then the command is run again),
and by three shards at once. It compares the digest of every picture and every value. `--save` adds the kills to the
file of `benchmarks/faults.py`, whose page counts them.

`overhead` is (processor time of the driver and its worker after the ready barrier) / (processor time of one process
after it has loaded its model) - 1.

`driver` runs the real loop of the driver (`bench.engines.dispatch`, the merging and recording of rows) with workers
that answer at once, in this process: no Ray, so that what is measured is our own share; the rate of images at which it
is busy all the time is where it saturates.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray_same


def processor_seconds(pid: int) -> float:
    """What a process has used so far."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def overhead(prompts: int) -> dict[str, Any]:
    """Processor seconds of generation after everything is loaded, by one process and by the engine with one worker."""
    from unittest import mock

    from bench.engines.cluster import Cluster
    from bench.engines.options import EngineOptions
    from bench.engines.ray import RayEngine
    from bench.generation.generate import Settings, generate
    from bench.generation.loaded import Loaded
    from bench.pipeline.prepare import chosen_suite, planned, resolved_methods
    from bench.store.run_store import RunStore, lock_runs

    suite = chosen_suite("shapes", limit=prompts, samples=4)
    plans = planned(suite, resolved_methods(["base"], suite, None))
    settings = Settings(batch_size=8, device="cpu")
    spent: dict[str, list[float]] = {"local": [], "ray": []}

    def stores(folder: str) -> list[RunStore]:
        return [RunStore.create(Path(folder), suite.name, plan.method.safe_name, plan.hash8) for plan in plans]

    make, hand_out = Loaded.make, RayEngine._hand_out

    def here(self: Loaded, *given: Any) -> None:
        began = time.process_time()
        make(self, *given)
        spent["local"].append(time.process_time() - began)

    def there(self: RayEngine, cluster: Cluster, *given: Any) -> None:
        [worker] = ray_same.below(os.getpid())
        began, before = time.process_time(), processor_seconds(worker)
        hand_out(self, cluster, *given)
        spent["ray"].append(time.process_time() - began + processor_seconds(worker) - before)

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(Loaded, "make", here):
        made = stores(folder)
        with lock_runs(made):
            generate(plans, suite, made, settings)
    engine = RayEngine(EngineOptions("ray", workers=1))
    try:
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(RayEngine, "_hand_out", there):
            made = stores(folder)
            with lock_runs(made):
                engine.generate(plans, suite, made, settings, None)
    finally:
        engine.close()
    images, [local], [ray] = prompts * 4, spent["local"], spent["ray"]
    return {"images": images, "local_s": local, "ray_s": ray, "overhead_percent": 100 * (ray / local - 1)}


@dataclass
class Stubs:
    """Workers in this process that answer at once: each task is done when it is asked for."""

    size: int
    answers: dict[int, Any] = field(default_factory=dict)
    order: deque[int] = field(default_factory=deque)
    number: int = 0

    def submit(self, worker: int, kind: str, units: Sequence[Any]) -> Hashable:
        """Keep the units."""
        self.number += 1
        self.answers[self.number] = units
        self.order.append(self.number)
        return self.number

    def wait(self, tickets: Sequence[Hashable]) -> Sequence[Hashable]:
        """The oldest 32."""
        return [self.order.popleft() for _ in range(min(32, len(self.order)))]

    def answer(self, ticket: Hashable) -> Any:
        """What a worker would have made of the units."""
        from bench.generation.part import Made
        from bench.store.records import ImageRow

        assert isinstance(ticket, int)
        found: dict[str, Made] = {}
        for work in self.answers.pop(ticket):
            for name, keys in work.save.items():
                made = found.setdefault(name, Made())
                made.rows += [
                    ImageRow(key[0], "a red circle", key[1], 42, f"images/{key[0]}/{key[1]}.png", "ab" * 32, 0.5)
                    for key in sorted(keys)
                ]
                made.counts["images_generated"] = made.counts.get("images_generated", 0) + len(keys)
                made.seconds += 0.5 * len(keys)
        return found

    def replace(self, worker: int) -> None:
        """None dies."""


def driver(images: int, workers: int) -> dict[str, Any]:
    """Processor seconds of the driver for so many images: cutting, handing out, merging and recording."""
    from dataclasses import replace

    from bench.engines.dispatch import Dispatcher
    from bench.generation.generate import recording, work_of
    from bench.generation.part import merge
    from bench.generation.recording import COUNTS, SECONDS_BETWEEN_PARTS, Run
    from bench.pipeline.prepare import chosen_suite, planned, resolved_methods
    from bench.sampling.batches import Cut, Layer
    from bench.store.records import Manifest
    from bench.store.run_store import RunStore
    from prompts import Prompt

    suite = chosen_suite("shapes", limit=1, samples=10)
    [plan] = planned(suite, resolved_methods(["base"], suite, None))
    plan = replace(plan, prompts=tuple(Prompt(f"p{i}", "a red circle") for i in range(images // 10)), samples=10)
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore.create(Path(folder), "shapes", "base", plan.hash8)
        listed = [{"id": prompt.id, "text": prompt.text, "tags": []} for prompt in plan.prompts]
        manifest = Manifest("shapes", "base", store.name, dict(plan.identity), {}, {}, listed, 10)
        manifest.counts = dict.fromkeys(COUNTS, 0)
        with store.lock():
            store.write_manifest(manifest)
            run = Run(plan, store, manifest, Cut(8, (Layer(0, 10),)), {item.key for item in plan.items})
            began = time.process_time()
            work = work_of([run])
            cutting = time.process_time() - began
            dispatcher, done = Dispatcher(Stubs(workers)), Counter[str]()

            def take(kind: str, units: Sequence[Any], answer: Any) -> None:
                done["tasks"] += 1
                for made in answer.values():
                    merge(run, made)
                    run.record(SECONDS_BETWEEN_PARTS)

            dispatcher.add("make", work)
            began, wall = time.process_time(), time.perf_counter()
            with recording([run]):
                dispatcher.run(take, until=lambda: not dispatcher.left("make"))
            spent, wall = time.process_time() - began, time.perf_counter() - wall
        parts = len(list((store.path / "images").glob("part-*.parquet")))
        assert manifest.counts["images_generated"] == images
    return {
        "images": images,
        "workers": workers,
        "tasks": done["tasks"],
        "cutting_s": cutting,
        "driver_s": spent,
        "wall_s": wall,
        "parts": parts,
        "images_per_s_where_it_saturates": images / spent,
    }


def main() -> None:
    """Print a JSON line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    one = commands.add_parser("same")
    one.add_argument("--prompts", type=int, default=64)
    one.add_argument("--kills", type=int, default=3)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--save", type=Path)
    commands.add_parser("overhead").add_argument("--prompts", type=int, default=250)
    simulated = commands.add_parser("driver")
    simulated.add_argument("--images", type=int, default=1_000_000)
    simulated.add_argument("--workers", type=int, default=1_000)
    given = parser.parse_args()
    if given.what == "same":
        for row in ray_same.same(given.prompts, given.kills, given.seed):
            print(json.dumps(row), flush=True)
            if given.save is not None:
                with given.save.open("a") as file:
                    file.writelines(json.dumps(trial) + "\n" for trial in ray_same.trials(row))
    elif given.what == "overhead":
        print(json.dumps(overhead(given.prompts)))
    else:
        print(json.dumps(driver(given.images, given.workers)))


if __name__ == "__main__":
    main()
