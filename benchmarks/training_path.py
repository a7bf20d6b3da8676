"""The path of trainings through quality and diversity, from what `bench train --eval-every` left.

    bench train refl --seed 1 --eval-every 50 --eval-limit 32 --out results/path/refl
    bench train imagerefl --seed 1 --eval-every 50 --eval-limit 32 --out results/path/imagerefl
    python benchmarks/training_path.py results/path/refl.eval results/path/imagerefl.eval --out trajectory.png

Prints a line a checkpoint, with the paired difference to the base model and its 95 % interval over prompts, and draws
these differences of reward and diversity against the updates, and one against the other.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.compare import compare
from bench.report.style import PAGE_WIDTH, RC, looks, save
from bench.stats import Interval
from bench.store import RunStore, find_runs

Point = tuple[int, dict[str, Interval]]


def read_path(results: Path, metrics: list[str]) -> tuple[str, list[Point]]:
    """(objective, [(updates, metric -> difference to base)]) of a folder of evaluations; prints them."""
    stores: dict[int, RunStore] = {}
    objective = ""
    for store in largest_comparable_stores(results):
        method = store.manifest().resolved_method
        update = method["settings"].get("update")
        stores[int(update or 0)] = store
        objective = objective or (method["row"] if update else "")
    print(f"{objective}: paired difference to the base model")
    points = [(0, {name: Interval(0.0, 0.0, 0.0, 0) for name in metrics})]
    for update, store in sorted(stores.items()):
        if update == 0:
            continue
        found = {one.facts.name: one.interval for one in compare(stores[0], store).differences}
        points.append((update, {name: found[name] for name in metrics}))
        told = [f"{name} {found[name].mean:+.3f} [{found[name].low:+.3f}, {found[name].high:+.3f}]" for name in metrics]
        print(f"  update {update:4}  {'  '.join(told)}")
    return objective, points


def largest_comparable_stores(results: Path) -> list[RunStore]:
    """The runs with the most prompts: the folder may hold evaluations of an earlier --eval-limit."""
    stores = find_runs(results)
    most = max(len(store.manifest().prompts) for store in stores)
    return [store for store in stores if len(store.manifest().prompts) == most]


def draw(paths: dict[str, list[Point]], quality: str, diversity: str, out: Path) -> None:
    """Three panels: each metric against the updates, and the path in the plane of both."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(RC):
        figure = Figure(figsize=(PAGE_WIDTH, 2.3), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        for name, (colour, marker) in looks(list(paths)).items():
            points = paths[name]
            updates = [update for update, _ in points]
            for axes, metric in ((left, quality), (middle, diversity)):
                line = [values[metric] for _, values in points]
                axes.plot(updates, [one.mean for one in line], color=colour, marker=marker, markersize=3.5, label=name)
                axes.fill_between(
                    updates,
                    [one.low for one in line],
                    [one.high for one in line],
                    color=colour,
                    alpha=0.13,
                    linewidth=0,
                )
            x, y = ([values[metric].mean for _, values in points] for metric in (diversity, quality))
            right.plot(x, y, color=colour, marker=marker, markersize=3.5)
            for (update, _), place in list(zip(points, zip(x, y, strict=True), strict=True))[1:]:
                right.annotate(str(update), place, xytext=(4, -2), textcoords="offset points", fontsize=6)
        left.set(xlabel="updates", ylabel=f"{quality} (shapes), trained on: change ↑")
        middle.set(xlabel="updates", ylabel=f"{diversity} diversity (shapes): change ↑")
        right.set(xlabel=f"{diversity} diversity (shapes): change ↑", ylabel=f"{quality} (shapes): change ↑")
        left.legend(frameon=False)
        for axes in (left, middle, right):
            axes.grid(True)
        with out.open("wb") as file:
            save(figure, file, "png")


def main() -> None:
    """Read, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--quality", default="pickscore")
    parser.add_argument("--diversity", default="dreamsim")
    parser.add_argument("--also", nargs="*", default=["hpsv2.1", "lpips", "attribute_entropy"])
    parser.add_argument("--out", type=Path, default=Path("trajectory.png"))
    given = parser.parse_args()
    paths = dict(read_path(results, [given.quality, given.diversity, *given.also]) for results in given.results)
    draw(paths, given.quality, given.diversity, given.out)
    print(f"drawn: {given.out}")


if __name__ == "__main__":
    main()
