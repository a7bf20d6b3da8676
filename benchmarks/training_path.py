"""The path of trainings through quality and diversity, from what `bench train --eval-every` left.

    bench train refl --seed 1 --eval-every 50 --eval-limit 32 --out results/path/refl
    bench train imagerefl --seed 1 --eval-every 50 --eval-limit 32 --out results/path/imagerefl
    python benchmarks/training_path.py results/path/refl.eval results/path/imagerefl.eval --out trajectory.png

Prints a line a checkpoint, with the paired difference to the base model and its 95 % interval over prompts, and draws
these differences against the updates: the reward that was trained on first, then the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.analysis.compare import compare
from bench.analysis.stats import Interval
from bench.reporting.style import FAINT, PAGE_WIDTH, RC, looks, save
from bench.store.run_store import RunStore, find_runs

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
        found = {difference.facts.name: difference.interval for difference in compare(stores[0], store).differences}
        points.append((update, {name: found[name] for name in metrics}))
        told = [f"{name} {found[name].mean:+.3f} [{found[name].low:+.3f}, {found[name].high:+.3f}]" for name in metrics]
        print(f"  update {update:4}  {'  '.join(told)}")
    return objective, points


def largest_comparable_stores(results: Path) -> list[RunStore]:
    """The runs with the most prompts: the folder may hold evaluations of an earlier --eval-limit."""
    stores = find_runs(results)
    most = max(len(store.manifest().prompts) for store in stores)
    return [store for store in stores if len(store.manifest().prompts) == most]


def draw(paths: dict[str, list[Point]], metrics: list[str], out: Path) -> None:
    """A panel a metric: the change from the base model against the updates, with 95 % intervals; the reward first."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(RC):
        figure = Figure(figsize=(PAGE_WIDTH, 2.1), layout="constrained")
        panels = figure.subplots(1, len(metrics))
        for axes, metric in zip(panels, metrics, strict=True):
            axes.axhline(0, color=FAINT, linewidth=0.6)
            for name, (colour, marker) in looks(list(paths)).items():
                updates = [update for update, _ in paths[name]]
                line = [values[metric] for _, values in paths[name]]
                low, high = [one.low for one in line], [one.high for one in line]
                axes.fill_between(updates, low, high, color=colour, alpha=0.15, linewidth=0)
                axes.plot(
                    updates,
                    [one.mean for one in line],
                    color=colour,
                    marker=marker,
                    markersize=3,
                    linewidth=1.2,
                    label=name,
                )
            mark = " †" if metric == metrics[0] else ""
            axes.set(title=f"{metric}{mark} ↑", xlabel="updates")
            axes.grid(True)
        panels[0].set_ylabel("change from base (shapes)")
        panels[0].legend(frameon=False, loc="upper left")
        with out.open("wb") as file:
            save(figure, file, "png")


def main() -> None:
    """Read, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--metrics", nargs="*", default=["pickscore", "lpips", "dreamsim", "attribute_entropy"])
    parser.add_argument("--out", type=Path, default=Path("trajectory.png"))
    given = parser.parse_args()
    paths = dict(read_path(results, given.metrics) for results in given.results)
    draw(paths, given.metrics, given.out)
    print(f"drawn: {given.out}")


if __name__ == "__main__":
    main()
