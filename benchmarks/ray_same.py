"""The same run by one process, by workers of Ray that are killed, and by shards: for `benchmarks/ray_scale.py`."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RUN = ["run", "--method", "base,imagerefl", "--samples", "4", "--batch-size", "8", "--device", "cpu"]
RUN += ["--metrics", "pickscore,lpips,fid"]


COUNTING = """
import os
from pathlib import Path

from bench.models.sd import StableDiffusion

decode = StableDiffusion.decode


def counted(self, latents, *given, **more):
    with open(os.environ["BENCH_COUNTED"], "a") as file:
        file.write(f"{os.getpid()} {len(latents)}\\n")
    return decode(self, latents, *given, **more)


StableDiffusion.decode = counted
"""
"""A plugin: who decoded how many pictures."""


def command(results: Path, prompts: int, *more: str) -> list[str]:
    """`bench run` of shapes."""
    return [sys.executable, "-m", "bench", *RUN, "--limit", str(prompts), "--results", str(results), *more]


def environment() -> dict[str, str]:
    """One thread a process, no hub."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}


def content(results: Path) -> tuple[dict[str, Any], Any]:
    """The digests of all pictures by run, and all values."""
    import bench
    from bench.store.run_store import find_runs

    pictures = {store.name: {row.key: row.sha256 for row in store.images()} for store in find_runs(results)}
    rows = bench.load_results(results).sort_values(["run", "metric", "prompt_id", "sample"], ignore_index=True)
    return pictures, rows


def equal(results: Path, serial: tuple[dict[str, Any], Any]) -> bool:
    """Whether pictures and values are those of one process."""
    pictures, rows = content(results)
    return bool(pictures == serial[0] and rows.equals(serial[1]))


def below(parent: int) -> list[int]:
    """Worker processes below a driver."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    family = {str(parent)}
    for _ in range(6):
        family |= {row[0] for row in rows if row[1] in family}
    return [int(row[0]) for row in rows if row[0] in family and len(row) > 2 and row[2].startswith("ray::Worker")]


def with_kills(results: Path, prompts: int, workers: int, kills: int, chance: random.Random) -> dict[str, int]:
    """A run by Ray whose workers or driver are killed; run again until it is complete."""
    count = Counter[str]()
    while True:
        count["calls"] += 1
        more = ("--engine", "ray", "--workers", str(workers))
        process = subprocess.Popen(
            command(results, prompts, *more),
            env=environment(),
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        began = len(list(results.rglob("images/*/*.png")))
        while count["kills"] < kills and process.poll() is None:
            time.sleep(0.2)
            if len(list(results.rglob("images/*/*.png"))) < began + chance.randint(4, 24):
                continue
            victims = below(process.pid)
            if count["kills"] % 3 == 2 or not victims:
                os.kill(process.pid, signal.SIGKILL)
                count["driver"] += 1
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(victims), signal.SIGKILL)
                    count["worker"] += 1
            count["kills"] += 1
            began = len(list(results.rglob("images/*/*.png")))
        _, told = process.communicate()
        if process.returncode == 0:
            return dict(count)
        if process.returncode != -signal.SIGKILL:
            raise SystemExit(told)
        time.sleep(3)  # what the driver began ends with it


def shares(folder: Path, prompts: int) -> dict[str, Any]:
    """A run by two workers, and which part of the pictures each of them made."""
    plugin, counts, results = folder / "counting.py", folder / "counts", folder / "two"
    plugin.write_text(COUNTING)
    given = command(results, prompts, "--engine", "ray", "--workers", "2", "--plugin", str(plugin))
    subprocess.run(given, env={**environment(), "BENCH_COUNTED": str(counts)}, check=True, capture_output=True)
    made = Counter[str]()
    for line in counts.read_text().splitlines():
        pid, count = line.split()
        made[pid] += int(count)
    return {"workers": 2, "images": made.total(), "shares": [round(one / made.total(), 3) for one in made.values()]}


def trials(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The kills of a row as trials of `benchmarks/faults.py`."""
    for what in ("worker", "driver"):
        if row.get(what):
            name, lost = f"kill of a Ray {what}: {row['workers']} workers", 0 if row["equal"] else row[what]
            yield {"name": name, "injected": row[what], "silent": 0, "lost": lost, "note": ""}


def same(prompts: int, kills: int, seed: int) -> Iterator[dict[str, Any]]:
    """One row for each number of workers."""
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder) / "one"
        subprocess.run(command(one, prompts), env=environment(), check=True, capture_output=True)
        serial = content(one)
        images = sum(map(len, serial[0].values()))
        yield {"workers": "one process", "images": images, "values": len(serial[1])}
        yield {**shares(Path(folder), prompts), "equal": equal(Path(folder) / "two", serial)}
        for workers in (1, 2, 3):
            results = Path(folder) / str(workers)
            count = with_kills(results, prompts, workers, kills, random.Random(seed + workers))
            yield {"workers": workers, "images": images, **count, "equal": equal(results, serial)}
        results = Path(folder) / "shares"
        shards = [
            subprocess.Popen(
                command(results, prompts, "--shard", f"{i}/3"), env=environment(), stderr=subprocess.DEVNULL
            )
            for i in (1, 2, 3)
        ]
        codes = [process.wait() for process in shards]
        yield {"workers": "3 shards at once", "images": images, "codes": codes, "equal": equal(results, serial)}
