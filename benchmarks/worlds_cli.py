"""One line a world through files and the command line: what is printed is what the functions say.

    python benchmarks/worlds_cli.py [--only TEXT] [--repeats N] [--commit ID]

Each world is written as finished runs (base, refl, combined, and refl of an earlier day) by the code that stores runs;
then `bench compare`, `bench report` and `bench check` are called, and every difference, interval, p, corrected p, mark
and verdict that they print is compared with what the functions make of the arrays in this process. The values a world
is made of never pass through those files on that side. Exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from simulate import ROOT, commit_of, seeds

from bench.analysis.bounded import Bounds
from bench.analysis.differences import Difference, corrected
from bench.analysis.estimand import Units, pair
from bench.analysis.stats import Interval
from bench.gate.verdict import judge, shown
from bench.reporting.cells import better_sign, decimals, difference_cell, number
from bench.store.records import Manifest, ScoreRow
from bench.store.run_store import RunStore
from bench.store.runs import MetricFacts

Rng = np.random.Generator
Metrics = dict[str, np.ndarray]  # metric -> values [P, K] of images, [P, 1] of a group metric; NaN: unscored
PROMPTS, SAMPLES = 40, 5
KINDS = {"pickscore": "image", "image_reward": "image", "attribute_accuracy": "image", "lpips": "group"}
BOUNDS = {"attribute_accuracy": Bounds(0.0, 1.0)}
ALLOWED = {"pickscore": 0.3, "image_reward": 0.05, "attribute_accuracy": 0.02, "lpips": 0.2}


@dataclass(frozen=True)
class World:
    """`make(rng, method)` gives a run's metrics; `texts` are the prompts' texts, as numbers."""

    name: str
    make: Callable[[Rng, str, int], Metrics]
    texts: tuple[int, ...] = tuple(range(PROMPTS))
    shared: bool = True  # methods have the same noise


def plain(own: Callable[[Rng, tuple[int, ...]], np.ndarray], effect: float) -> Callable[[Rng, str, int], Metrics]:
    """Rewards and a diversity that share an effect of the prompt; refl is better in rewards and less diverse."""

    def make(rng: Rng, method: str, day: int) -> Metrics:
        shared = np.random.default_rng(day // 10).normal(size=(PROMPTS, 1))
        size = {"base": 0.0, "refl": effect, "combined": effect / 2}[method]
        shape = (PROMPTS, SAMPLES)
        chance = 1 / (1 + np.exp(-3 - shared - size))
        return {
            "pickscore": 20 + shared + own(rng, shape) + size,
            "image_reward": 0.5 * shared + own(rng, shape) + size / 4,
            "attribute_accuracy": (rng.random(shape) < chance).astype(float),
            "lpips": 0.4 + 0.1 * shared + own(rng, (PROMPTS, 1)) - size,
        }

    return make


def alike(how: str) -> Callable[[Rng, str, int], Metrics]:
    """Equal values of all methods, of which refl lacks a fifth."""

    def make(rng: Rng, method: str, day: int) -> Metrics:
        found = plain(lambda r, shape: r.normal(size=shape), 0.0)(np.random.default_rng(day // 10 + 7), method, day)
        if method != "refl" or day % 10:
            return found
        for name, values in found.items():
            order = values + 1e-6 * rng.random(values.shape)
            lost = order < np.quantile(order, 0.2) if how == "worst" else rng.random(values.shape) < 0.2
            found[name] = np.where(lost, np.nan, values)
        return found

    return make


WORLDS = (
    World("normal", plain(lambda rng, shape: rng.normal(size=shape), 0.6)),
    World("nothing differs", plain(lambda rng, shape: rng.normal(size=shape), 0.0)),
    World("t, 3 degrees of freedom", plain(lambda rng, shape: rng.standard_t(3, size=shape), 0.6)),
    World("skewness 2", plain(lambda rng, shape: rng.exponential(size=shape) - 1, 0.6)),
    World("lognormal(1)", plain(lambda rng, shape: np.exp(rng.normal(size=shape)) - math.exp(0.5), 0.6)),
    World("ties", plain(lambda rng, shape: rng.choice([-1.0, 0, 0, 0, 1], size=shape), 0.25)),
    World("half as many texts", plain(lambda r, s: r.normal(size=s), 0.6), tuple(i % 20 for i in range(PROMPTS))),
    World("identical, a fifth missing at random", alike("random")),
    World("identical, the worst fifth missing", alike("worst")),
)


def write(results: Path, world: World, method: str, metrics: Metrics, seed: int) -> None:
    """A finished run."""
    identity = {"seed": seed, "method": method, "sampler": {"steps": 40}, "prompts": world.name}
    hash8 = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    store = RunStore.create(results, "shapes", method, hash8)
    listed = [{"id": f"p{i:04d}", "text": f"a shape, number {text}", "tags": []} for i, text in enumerate(world.texts)]
    for name, values in metrics.items():
        card: dict[str, object] = {
            "name": name,
            "version": "1",
            "kind": KINDS[name],
            "direction": "higher",
            "title": name,
        }
        if name in BOUNDS:
            card |= {"low": BOUNDS[name].low, "high": BOUNDS[name].high}
        card["digest"] = hashlib.sha256(repr(card).encode()).hexdigest()
        group = KINDS[name] == "group"
        rows = [
            ScoreRow(f"p{p:04d}", None if group else k, float(v), "lost" if math.isnan(v) else None)
            for (p, k), v in np.ndenumerate(values)
        ]
        store.append_scores(name, rows, card)
    manifest = Manifest(
        "shapes", method, f"{method}@{hash8}", identity, {"title": "Shapes"}, {"name": method}, listed, 5
    )
    manifest.status, manifest.counts = "complete", {"images": PROMPTS * SAMPLES}
    store.write_manifest(manifest)


def units(world: World, metrics: Metrics, name: str, seed: int) -> Units:
    """The same values as the functions take them."""
    prompts = tuple(f"p{i:04d}" for i in range(PROMPTS))
    return Units(prompts, metrics[name], np.array(world.texts), BOUNDS.get(name), (str(seed),))


def difference(world: World, a: Metrics, b: Metrics, name: str, seed: int) -> Difference:
    """b - a of one metric, in this process."""
    first, second = units(world, a, name, seed), units(world, b, name, seed)
    found = pair(first, second)
    facts = MetricFacts(name, name, KINDS[name], "higher")
    return Difference(facts, first.mean().mean, second.mean().mean, found.paired(), estimate=found)


def call(folder: Path, *words: str) -> str:
    """What a command prints; it must not be stopped by an error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "bench", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    if done.returncode not in (0, 1) or (done.returncode == 1 and words[0] != "check"):
        sys.exit(f"bench {' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def compared(text: str, wanted: Sequence[Difference]) -> list[str]:
    """What `bench compare` prints otherwise than wanted."""
    wrong = []
    for one in wanted:
        line = next((line for line in text.splitlines() if line.startswith(f"{one.facts.name} ")), "")
        cell = difference_cell(one, decimals([one.interval]))
        parts = [
            cell.value,
            cell.interval,
            better_sign(one),
            str(one.interval.n),
            number(one.detects, decimals([one.interval])),
        ]
        parts += [f"{p:.4f}" for p in (one.paired.p, one.p_holm) if math.isfinite(p)]
        missing = [part for part in parts if part and part not in line]
        other = [sign for sign in "▲▼△▽" if sign in line and sign != better_sign(one)]
        if missing or other:
            wrong.append(f"compare {one.facts.name}: no {missing}, but {other} in {line!r}")
        if one.undecided and one.undecided not in text.replace("\n", " "):
            wrong.append(f"compare {one.facts.name}: does not say {one.undecided!r}")
    return wrong


def reported(folder: Path, wanted: Mapping[tuple[str, str], Difference]) -> list[str]:
    """What the report's files hold otherwise than wanted."""
    wrong = []
    rows = {
        (r["method"], r["metric"]): r for r in csv.DictReader((folder / "differences.csv").read_text().splitlines())
    }
    page = (folder / "index.html").read_text(encoding="utf-8")
    for key, one in wanted.items():
        interval = one.interval
        numbers = {"difference": interval.mean, "ci_low": interval.low, "ci_high": interval.high, "p": one.paired.p}
        for column, value in {**numbers, "p_holm": one.p_holm, "n": interval.n}.items():
            found = rows[key][column]
            same = found == "" if math.isnan(value) else math.isclose(float(found), value, rel_tol=1e-5, abs_tol=1e-9)
            if not same:
                wrong.append(f"report {key} {column}: {found} for {value}")
        if (rows[key]["better"], rows[key]["sure"]) != said(one):
            wrong.append(f"report {key}: {rows[key]['better']}, {rows[key]['sure']} for {said(one)}")
        digits = decimals([other.interval for (_, metric), other in wanted.items() if metric == key[1]])
        text = difference_cell(one, digits)
        if text.interval and text.interval not in page:
            wrong.append(f"report {key}: no {text.interval} on the page")
    return wrong


def said(one: Difference) -> tuple[str, str]:
    """The columns `better` and `sure` of differences.csv."""
    if not one.better:
        return "", ""
    return ("yes" if one.better == "b" else "no"), ("yes" if one.sure else "")


def drop(
    world: World, before: Metrics, now: Metrics, name: str, level: float, seeds_: tuple[int, int]
) -> tuple[Interval, str]:
    """The drop of a metric with its interval, and the verdict on it."""
    found = pair(units(world, before, name, seeds_[0]), units(world, now, name, seeds_[1]))
    same = Interval(0.0, 0.0, 0.0, found.interval(level).n)
    shown_, least = (
        (same, found.least(level) if found.gaps else same)
        if found.same
        else (found.interval(level), found.least(level))
    )
    turned, worst = (replace(i, mean=-i.mean, low=-i.high, high=-i.low) for i in (shown_, least))
    status = judge(turned.low, turned.mean, turned.high, ALLOWED[name], False)
    if status == "passed" and judge(worst.low, worst.mean, worst.high, ALLOWED[name], False) != "passed":
        status = "undecided"
    return turned, status


def checked(data: str, world: World, before: Metrics, now: Metrics, seeds_: tuple[int, int]) -> list[str]:
    """What `bench check --json` says otherwise than wanted."""
    wrong, found = [], {one["metric"]: one for one in json.loads(data)["verdicts"]}
    for name in KINDS:
        interval, status = drop(world, before, now, name, 1 - 0.05 / len(KINDS), seeds_)
        one = found[name]
        printed = [math.nan if one[key] is None else float(one[key]) for key in ("value", "ci_low", "ci_high")]
        wanted = (interval.mean, interval.low, interval.high)
        if one["status"] != status or not np.allclose(printed, wanted, rtol=1e-6, atol=1e-9, equal_nan=True):
            wrong.append(f"check {name}: {one['status']}, {one['message']} for {status}, {shown(interval)}")
        if shown(interval) not in one["message"]:
            wrong.append(f"check {name}: no {shown(interval)} in {one['message']!r}")
    return wrong


def differs(world: World, commit: str, repeat: int, folder: Path) -> list[str]:
    """Everything that the commands say otherwise than the functions, of one draw of a world."""
    rng = np.random.default_rng(seeds(commit, world.name, repeat))
    day = 10 * repeat
    now = {method: world.make(rng, method, day) for method in ("base", "refl", "combined")}
    before = {"refl": world.make(rng, "refl", day + 1)}
    for method, metrics in now.items():
        write(folder / "now", world, method, metrics, 2)
    write(folder / "before", world, "refl", before["refl"], 1)
    together = corrected([difference(world, now["base"], now["refl"], name, 2) for name in KINDS])
    wrong = compared(call(folder, "compare", "base", "refl", "--results", "now"), together)
    call(folder, "report", "--results", "now", "--out", "page")
    cells = [(method, name) for method in ("refl", "combined") for name in KINDS]
    found = corrected([difference(world, now["base"], now[method], name, 2) for method, name in cells])
    wrong += reported(folder / "page", dict(zip(cells, found, strict=True)))
    lines = "".join(f"[refl.{name}]\nmax_drop = {ALLOWED[name]}\n" for name in KINDS)
    (folder / "gate.toml").write_text(lines, encoding="utf-8")
    call(folder, "check", "--results", "before", "--baseline", "before.json", "--update-baseline")
    words = ("check", "--results", "now", "--thresholds", "gate.toml", "--baseline", "before.json", "--json")
    return wrong + checked(call(folder, *words), world, before["refl"], now["refl"], (1, 2))


def main() -> None:
    """Print a line a world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="worlds whose name holds this text")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="draws a world")
    parser.add_argument("--commit", default="", metavar="ID", help="make the worlds of this commit again")
    given = parser.parse_args()
    commit, failed = commit_of(given.commit), False
    print(f"seeds of commit {commit[:8]}\n\n| world | draws | what differs |\n| :--- | ---: | :--- |")
    for world in (world for world in WORLDS if given.only in world.name):
        wrong = []
        for repeat in range(given.repeats):
            with tempfile.TemporaryDirectory() as folder:
                wrong += differs(world, commit, repeat, Path(folder))
        failed |= bool(wrong)
        print(f"| {world.name} | {given.repeats} | {'; '.join(wrong) or 'nothing'} |", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
