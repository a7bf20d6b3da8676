"""What the simulations share: lines that are run part by part, saved, continued, and printed with their limits.

A line is a claim about a rate (limits: Clopper & Pearson 1934), or about a mean (limits: Student's t). It is run in
parts with seeds of their own, `[commit, crc32(name), part]`, so a line's figures depend neither on which other lines
run nor on anybody's choice: the commit is that of the working tree, or the one of `--commit`, which makes the figures
of that commit again. Each part is written when it is done (`results/simulations/SCRIPT.jsonl`, or `--save FILE`), and a
later call of the same commit goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SAVED = ROOT / "results" / "simulations"
TEST_COMMIT = "20261128"  # of the small versions that the tests run
Rng = np.random.Generator
Trials = Callable[[Rng, int], "np.ndarray"]  # rng, count -> one number a trial: a hit or a value; NaN counts for none


@dataclass(frozen=True)
class Line:
    """A rate, or a mean where `mean` is set, and the range it has to lie in; `trials` are made in parts of `part`.

    Lines of one `group` stand in one table, by `row` and `column`; `unit` "%" or "x" (a ratio).
    """

    name: str
    draw: Trials
    low: float
    high: float
    trials: int = 4000
    part: int = 1000
    group: str = ""
    row: str = ""
    column: str = ""
    mean: bool = False
    unit: str = "%"


def cell(group: str, row: str, column: str, draw: Trials, low: float, high: float, **more: object) -> Line:
    """A line of a table."""
    return Line(f"{group}: {row}, {column}", draw, low, high, group=group, row=row, column=column, **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Found:
    """What the parts of a line come to: trials that counted, their sum and their sum of squares."""

    total: float
    trials: int
    squares: float

    @property
    def value(self) -> float:
        """The rate or the mean; NaN of no trial."""
        return self.total / self.trials if self.trials else math.nan

    def limits(self, mean: bool) -> tuple[float, float]:
        """95 % limits."""
        if not mean:
            return binomial_limits(round(self.total), self.trials)
        if self.trials < 2:
            return -math.inf, math.inf
        spread = max(0.0, self.squares - self.total**2 / self.trials) / (self.trials - 1)
        half = 1.96 * math.sqrt(spread / self.trials)
        return self.value - half, self.value + half


def binomial_limits(hits: int, trials: int) -> tuple[float, float]:
    """95 % limits of a rate (Clopper & Pearson 1934); 0 and 1 of no trial."""
    from scipy.special import betaincinv

    low = betaincinv(hits, trials - hits + 1, 0.025) if hits else 0.0
    high = betaincinv(hits + 1, trials - hits, 0.975) if hits < trials else 1.0
    return float(low), float(high)


def commit_of(given: str = "") -> str:
    """The commit that seeds are made of: `given`, or that of the working tree."""
    if given:
        return given
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    if head.returncode:
        sys.exit("no commit to make seeds of: pass --commit ID (8 or more hexadecimal digits)")
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "bench", "benchmarks"], cwd=ROOT, check=False)
    if changed.returncode:
        print("the sources differ from the commit that the seeds are made of", file=sys.stderr)
    return head.stdout.strip()


def seeds(commit: str, name: str, part: int) -> list[int]:
    """Of one part of one line."""
    if not re.fullmatch(r"[0-9a-f]{8,40}", commit):
        sys.exit(f"--commit {commit}: write 8 to 40 hexadecimal digits")
    return [int(commit[:8], 16), zlib.crc32(name.encode()), part]


def kept(saved: Path | None, commit: str, name: str, part: int, count: int) -> dict[str, float] | None:
    """The numbers of a part that was made before."""
    if saved is None or not saved.exists():
        return None
    for text in saved.read_text().splitlines():
        row = json.loads(text)
        if (row["commit"], row["line"], row["part"], row["count"]) == (commit[:8], name, part, count):
            return dict(row["found"])
    return None


def keep(
    saved: Path | None, commit: str, name: str, part: int, count: int, found: Mapping[str, float]
) -> dict[str, float]:
    """Write a part at the end of the file."""
    if saved is not None:
        saved.parent.mkdir(parents=True, exist_ok=True)
        row = {"commit": commit[:8], "line": name, "part": part, "count": count, "found": dict(found)}
        with saved.open("a") as file:
            file.write(json.dumps(row) + "\n")
    return dict(found)


def run_line(
    line: Line, trials: int, saved: Path | None = None, commit: str = TEST_COMMIT, *, make: bool = True
) -> Found:
    """All parts of a line; those that lie in `saved` are not made again. Not `make`: LookupError for one that lacks."""
    parts = []
    for part in range(math.ceil(trials / line.part)):
        count = min(line.part, trials - part * line.part)
        found = kept(saved, commit, line.name, part, count)
        if found is None:
            if not make:
                raise LookupError(f"{saved} has no part {part} of the line {line.name!r} at commit {commit[:8]}")
            rng = np.random.default_rng(seeds(commit, line.name, part))
            values = np.asarray(line.draw(rng, count), dtype=np.float64)
            real = values[np.isfinite(values)]
            numbers = {"total": float(real.sum()), "trials": real.size, "squares": float((real**2).sum())}
            found = keep(saved, commit, line.name, part, count, numbers)
        parts.append(found)
    total, counted, squares = (sum(one[key] for one in parts) for key in ("total", "trials", "squares"))
    return Found(float(total), int(counted), float(squares))


def judged(line: Line, found: Found) -> str:
    """ "MISSED" where the value is surely outside of what is wanted, "within chance" where only the estimate is."""
    low, high = found.limits(line.mean)
    if not found.trials or line.low <= found.value <= line.high:
        return ""
    return "MISSED" if high < line.low or low > line.high else "within chance"


def written(line: Line, found: Found) -> str:
    """The value with its limits."""
    if not found.trials:
        return "none"
    low, high = found.limits(line.mean)
    if line.unit == "x":
        return f"{found.value:.2f} ({low:.2f}-{high:.2f})"
    return f"{100 * found.value:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def wanted(line: Line) -> str:
    """The range as text: a side that says nothing is left out."""
    scale, unit = (1, "") if line.unit == "x" else (100, " %")
    if line.high == 0:
        return "none"
    least, most = line.low > 0, math.isfinite(line.high) and (line.unit == "x" or line.high < 1)
    if least and most:
        return f"{scale * line.low:g}-{scale * line.high:g}{unit}"
    return f"at most {scale * line.high:g}{unit}" if most else f"at least {scale * line.low:g}{unit}" if least else "-"


def tables(lines: Sequence[Line], found: Mapping[str, Found]) -> str:
    """A Markdown table a group, in the order of the lines; a cell that misses says so."""
    made = []
    for group in dict.fromkeys(line.group for line in lines):
        made.append(_table(group, [line for line in lines if line.group == group], found))
    return "\n".join(made)


def _table(group: str, lines: Sequence[Line], found: Mapping[str, Found]) -> str:
    if not lines[0].row:  # a line a row
        head, rule = "| line | trials | rate | wanted | |", "| :--- | ---: | ---: | ---: | :--- |"
        rows = [
            f"| {line.name} | {found[line.name].trials:,} | {written(line, found[line.name])} | {wanted(line)} "
            f"| {judged(line, found[line.name])} |"
            for line in lines
        ]
        return "\n".join([head, rule, *rows]) + "\n"
    columns = list(dict.fromkeys(line.column for line in lines))
    rows = [
        f"| {group} | {' | '.join(columns)} | trials | wanted |",
        f"| :--- | {'---: | ' * len(columns)}---: | :--- |",
    ]
    for row in dict.fromkeys(line.row for line in lines):
        of = {line.column: line for line in lines if line.row == row}
        cells = [_cell(of[column], found[of[column].name]) if column in of else "" for column in columns]
        counts = dict.fromkeys(f"{found[line.name].trials:,}" for line in of.values())
        asked = [text for text in dict.fromkeys(map(wanted, of.values())) if text != "-"] or ["-"]
        rows.append(f"| {row} | {' | '.join(cells)} | {' / '.join(counts)} | {'; '.join(asked)} |")
    return "\n".join(rows) + "\n"


def _cell(line: Line, found: Found) -> str:
    mark = {"MISSED": " **missed**", "within chance": " within chance"}.get(judged(line, found), "")
    return written(line, found) + mark


def main(doc: str | None, lines: Sequence[Line], what: str = "rate") -> None:
    """Run the lines that are asked for, save each part, and print the tables. Exit code 1 where a line is missed."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="lines whose name holds this text")
    parser.add_argument("--trials", type=int, default=None, metavar="N", help="instead of each line's own number")
    parser.add_argument("--save", type=Path, default=None, metavar="FILE", help="write each part, go on from there")
    parser.add_argument("--commit", default="", metavar="ID", help="make the figures of this commit again")
    given = parser.parse_args()
    commit = commit_of(given.commit)
    saved = given.save or SAVED / f"{Path(sys.argv[0]).stem}.jsonl"
    start, chosen, found = time.process_time(), [line for line in lines if given.only in line.name], {}
    for line in chosen:
        found[line.name] = run_line(line, given.trials or line.trials, saved, commit)
        told = f"{line.name}: {written(line, found[line.name])} {judged(line, found[line.name])}".rstrip()
        print(told, file=sys.stderr, flush=True)
    print(f"{what}, with 95 % limits in brackets; seeds of commit {commit[:8]}\n\n{tables(chosen, found)}")
    print(f"{time.process_time() - start:.0f} s of processor time")
    sys.exit(1 if any(judged(line, found[line.name]) == "MISSED" for line in chosen) else 0)
