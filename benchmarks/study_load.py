"""How the study's server bears many raters: `python benchmarks/study_load.py STUDY [--sessions 100] [--seconds 60]`.

The server runs in a process of its own, on the loopback interface, on a copy of the study's folder that nobody else
sees. This process is the load: each session is a rater in a thread, who loads the item's pictures and votes every
three seconds. Before that, one rater alone gives the baseline. Afterwards the votes that the server acknowledged are
compared with the rows of the database: none lost, none twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench.study
from bench.errors import UsageError
from bench.study.client import RaterClient
from bench.study.keys import Keys
from bench.study.store import open_votes

INTERVAL = 3.0  # seconds between two votes of a rater


class Session:
    """One rater: times of its votes in seconds, and the answers that were acknowledged."""

    def __init__(self, link: str, name: str) -> None:
        self.client, self.name = RaterClient(link), name
        self.votes: list[float] = []
        self.pictures: list[float] = []
        self.acknowledged: list[tuple[str, str]] = []
        self.fault = ""

    def run(self, until: float, interval: float, start: float) -> None:
        """Vote until the time is over or there is nothing left, each time after `interval` seconds."""
        try:
            self.client.open()
            state = self.client.consent()
            due = time.monotonic() + start
            while state["item"] is not None and (due := due + interval) < until:
                item = state["item"]
                self.pictures += [timed(self.client.picture, item[side])[0] for side in ("left", "right")]
                time.sleep(max(0.0, due - time.monotonic()))
                seconds, reply = timed(self.client.vote, item["id"], "left", 1.0)
                self.votes.append(seconds)
                self.acknowledged.append((self.name, item["id"]))
                state = reply["state"]
        except Exception as error:  # a session that ends early is part of the result
            self.fault = f"{type(error).__name__}: {error}"
        finally:
            self.client.close()


def timed(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds that a call took, and what it returned."""
    begun = time.perf_counter()
    value = call(*arguments)
    return time.perf_counter() - begun, value


def p95(values: list[float]) -> float:
    """The 95th percentile in milliseconds."""
    return 1000 * statistics.quantiles(values, n=20)[-1] if len(values) > 1 else float("nan")


def main() -> int:
    """Run, print one JSON object, and return 1 where a vote was lost or counted twice."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    options.seconds = min(options.seconds, 300.0)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "study"
        shutil.copytree(options.study, folder, ignore=shutil.ignore_patterns("study.db*"))
        study = bench.study.open_study(folder)
        if len(study.plan) < options.sessions + 1:
            raise UsageError(
                f"{options.study} has {len(study.plan)} raters: make it with --raters {options.sessions + 1}"
            )
        keys = Keys.of(folder, study.plan)
        command = [sys.executable, "-m", "bench", "study", "serve", str(folder), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        try:
            assert server.stdout is not None
            origin = re.search(r"http://[^/]+", server.stdout.readline())[0]  # type: ignore[index]
            names = list(study.plan)[: options.sessions + 1]
            alone, *others = [Session(f"{origin}/r/{keys.token(name)}", name) for name in names]
            alone.run(time.monotonic() + 15.0, 0.25, 0.0)
            until = time.monotonic() + options.seconds
            rng = random.Random(0)
            threads = [
                threading.Thread(target=one.run, args=(until, INTERVAL, rng.uniform(0, INTERVAL))) for one in others
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            server.send_signal(signal.SIGKILL)
            server.wait()
        stored = Counter((a.rater, keys.item(a.rater, a.item)) for a in open_votes(study).answers())
    told = [one for session in (alone, *others) for one in session.acknowledged]
    votes = [seconds for one in others for seconds in one.votes]
    loads = [seconds for one in others for seconds in one.pictures]
    result = {
        "sessions": len(others),
        "seconds": options.seconds,
        "votes": len(votes),
        "votes_per_second": round(len(votes) / options.seconds, 1),
        "lost": len(set(told) - set(stored)),
        "counted_twice": sum(count > 1 for count in stored.values()) + len(told) - len(set(told)),
        "faults": sorted({one.fault for one in (alone, *others) if one.fault}),
        "vote_ms": {"alone_p50": 1000 * statistics.median(alone.votes), "alone_p95": p95(alone.votes)},
        "picture_ms": {"alone_p95": p95(alone.pictures), "loaded_p95": p95(loads)},
    }
    result["vote_ms"] |= {"loaded_p50": 1000 * statistics.median(votes), "loaded_p95": p95(votes)}
    result["p95_above_baseline_ms"] = p95(votes) - p95(alone.votes)
    print(json.dumps(result, indent=1))
    return int(bool(result["lost"] or result["counted_twice"] or result["faults"]))


if __name__ == "__main__":
    sys.exit(main())
