"""What the simulations share: lines that are run part by part, saved, continued, and printed with binomial limits.

A line is a claim about a rate. It is run in parts with seeds of their own, `[SEED, crc32(name), part]`, so a line's
figures do not depend on which other lines run. With `--save FILE` each part is written when it is done, and a later
call goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEED = 20261128
Rng = np.random.Generator
Trials = Callable[[Rng, int], "np.ndarray"]  # rng, count -> hits, one a trial: bool, or NaN for a trial that is none


@dataclass(frozen=True)
class Line:
    """A rate with the range it has to lie in; `trials` are made in parts of `part`."""

    name: str
    draw: Trials
    low: float
    high: float
    trials: int = 4000
    part: int = 1000


def binomial_limits(hits: int, trials: int) -> tuple[float, float]:
    """95 % limits of a rate (Clopper & Pearson 1934)."""
    from scipy.special import betaincinv

    low = betaincinv(hits, trials - hits + 1, 0.025) if hits else 0.0
    high = betaincinv(hits + 1, trials - hits, 0.975) if hits < trials else 1.0
    return float(low), float(high)


def run_line(line: Line, trials: int, saved: Path | None = None) -> tuple[int, int]:
    """Hits and trials that counted; parts that lie in `saved` are not made again."""
    known = _saved(saved, line.name)
    hits = counted = 0
    for part in range(math.ceil(trials / line.part)):
        count = min(line.part, trials - part * line.part)
        if (part, count) not in known:
            rng = np.random.default_rng([SEED, zlib.crc32(line.name.encode()), part])
            found = np.asarray(line.draw(rng, count), dtype=np.float64)
            real = found[np.isfinite(found)]
            known[part, count] = int(real.sum()), real.size
            if saved is not None:
                entry = {"line": line.name, "part": part, "count": count, "hits": int(real.sum()), "trials": real.size}
                with saved.open("a") as file:
                    file.write(json.dumps(entry) + "\n")
        hits, counted = hits + known[part, count][0], counted + known[part, count][1]
    return hits, counted


def _saved(path: Path | None, name: str) -> dict[tuple[int, int], tuple[int, int]]:
    if path is None or not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    return {(r["part"], r["count"]): (r["hits"], r["trials"]) for r in rows if r["line"] == name}


def main(doc: str | None, lines: Sequence[Line], what: str) -> None:
    """Run the lines that are asked for and print them as a Markdown table."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="lines whose name holds this text")
    parser.add_argument("--trials", type=int, default=None, help="instead of each line's own number")
    parser.add_argument("--save", type=Path, default=None, metavar="FILE", help="write each part, go on from there")
    given = parser.parse_args()
    print(f"| line | trials | {what} | binomial limits | wanted | |\n| :--- | ---: | ---: | ---: | ---: | :--- |")
    start, missed = time.process_time(), 0
    for line in (line for line in lines if given.only in line.name):
        hits, trials = run_line(line, given.trials or line.trials, given.save)
        low, high = binomial_limits(hits, trials)
        wrong = high < line.low or low > line.high  # surely outside, given the number of trials
        missed += wrong
        near = "" if line.low <= hits / trials <= line.high else "MISSED" if wrong else "within chance"
        wanted = f"{100 * line.low:.0f}-{100 * line.high:.0f} %"
        rate = f"{hits / trials:.1%} | {100 * low:.1f}-{100 * high:.1f} %"
        print(f"| {line.name} | {trials:,} | {rate} | {wanted} | {near} |", flush=True)
    print(f"\n{time.process_time() - start:.0f} s of processor time")
    sys.exit(1 if missed else 0)
