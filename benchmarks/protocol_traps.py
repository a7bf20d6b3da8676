"""What each of the ways of the official code (docs/protocol.md) does to a value, on the embedded suite.

    python benchmarks/protocol_traps.py [--results results/traps]

Runs base, refl and combined of `shapes` (32 prompts x 5 images) and what the traps of generating need, then prints a
line a trap: the mean of base as it should be and with the trap, and the same for the difference refl - base, whose
95 % half width is beside it. Pictures of `shapes` are of the networks' size already, so the resizes (4, 5) are shown on
the same pictures enlarged to 512 pixels. About three minutes of one core the first time, half a minute after that.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

import bench
import bench.sampling.loop as sampling
import metrics
from bench.analysis.differences import difference
from bench.analysis.intervals import paired_difference
from bench.formatting import markdown_table
from bench.models.schedulers import take_step
from bench.models.weights import resolve
from bench.sampling.noise import generators, initial_noise
from bench.store.run_store import RunStore
from bench.store.runs import read_run
from metrics.networks.preprocess import CLIP_MEAN, CLIP_STD, crop_centre, normalise, shortest_side, to_unit
from metrics.official.measure import logged_diversity

LARGE, GUIDANCE = 512, 3.5
Values = np.ndarray  # [P, K], one run's
HEAD = ("trap", "of", "base", "with the trap", "refl - base", "with the trap")


class Pictures:
    """The pictures of a run, prompt by prompt, with their captions; enlarged where a side is given."""

    def __init__(self, store: RunStore, side: int | None = None) -> None:
        manifest = store.manifest()
        self.samples = manifest.samples
        files = {row.key: store.path / row.path for row in store.images()}
        keys = [(str(one["id"]), sample) for one in manifest.prompts for sample in range(manifest.samples)]
        self.texts = [str(one["text"]) for one in manifest.prompts for _ in range(manifest.samples)]
        found = [Image.open(files[key]).convert("RGB") for key in keys]
        large = Image.Resampling.BICUBIC
        self.images = found if side is None else [image.resize((side, side), large) for image in found]

    def scored(self, metric: Any) -> Values:
        """Values [P, K]."""
        values = metric.score(self.images, self.texts)
        return np.asarray(values, dtype=np.float64).reshape(-1, self.samples)


def scorer(name: str, weights: str, **options: Any) -> Any:
    """A metric of `shapes`."""
    return metrics.load(name, weights=resolve(f"shapes:{weights}"), label="shapes", **options)


def on_shared_input(metric: Any) -> Any:
    """A metric on the shared resize and crop, in full precision: the geometry of trap 4 alone."""

    def prepare(image: Image.Image) -> torch.Tensor:
        pixels, target = to_unit(image)[None], shortest_side(*image.size, metric.size)[::-1]
        resized = interpolate(pixels, target, mode="bicubic", align_corners=False, antialias=True)
        return normalise(crop_centre(resized, metric.size), CLIP_MEAN, CLIP_STD)[0]

    metric.prepare = prepare
    return metric


def line(trap: str, of: str, plain: list[Values], trapped: list[Values]) -> list[str]:
    """A line of the table from the values of base and refl."""
    return [trap, of, _mean(plain[0]), _mean(trapped[0]), _change(*plain), _change(*trapped)]


def _mean(values: Values) -> str:
    return f"{values.mean():.4f}"


def _change(a: Values, b: Values) -> str:
    prompts = np.repeat(np.arange(a.shape[0]), a.shape[1])
    found = paired_difference(a.ravel(), b.ravel(), prompts).interval
    return f"{found.mean:+.4f} ± {(found.high - found.low) / 2:.4f}"


def measured(base: RunStore, refl: RunStore) -> Iterator[list[str]]:
    """Traps 3 to 5, of single pictures."""
    small, large = [Pictures(one) for one in (base, refl)], [Pictures(one, LARGE) for one in (base, refl)]

    def both(pictures: list[Pictures], metric: Any) -> list[Values]:
        return [one.scored(metric) for one in pictures]

    reward = scorer("image_reward", "image_reward")
    plain = both(small, reward)
    raw = [values * 1.0333394966054072 + 0.16717362830052426 for values in plain]
    yield line("3 raw reward", "ImageReward", plain, raw)
    for name, title, weights in (("hpsv2.1", "HPSv2.1", "hpsv2"), ("pickscore", "PickScore", "pickscore")):
        plain, coarse = both(small, scorer(name, weights)), both(small, scorer(f"{name}@official", weights))
        yield line("4 bfloat16", title, plain, coarse)
        plain = both(large, scorer(name, weights))
        shared = both(large, on_shared_input(scorer(name, weights)))
        yield line(f"4 shared resize, {LARGE} px", title, plain, shared)
        official = [both(large, scorer(f"{name}@official", weights, antialias=on)) for on in (True, False)]
        yield line(f"5 antialias off, {LARGE} px", f"{title} @official", *official)


def logged(base: RunStore, refl: RunStore) -> Iterator[list[str]]:
    """Traps 6 and 7, of whole runs: one number each, so that nothing has an interval."""
    pictures = [Pictures(one) for one in (base, refl)]
    metric = scorer("clip_diversity@official", "pickscore")
    rows = [metric.embed(one.images) for one in pictures]
    for batch in (30, 8, 7):
        plain = [
            np.mean([metric.score_embeddings(part) for part in one.split(p.samples)])
            for one, p in zip(rows, pictures, strict=True)
        ]
        found = [logged_diversity(one, p.samples, batch) for one, p in zip(rows, pictures, strict=True)]
        told = f"CLIP diversity @official; {found[0].how.rpartition(', ')[2]}"
        yield _numbers(f"6 groups of 5, batch {batch}", told, plain, [one.value for one in found])
    for name, title, weights in (("hpsv2.1", "HPSv2.1", "hpsv2"), ("pickscore", "PickScore", "pickscore")):
        official = scorer(f"{name}@official", weights)
        values = [torch.tensor(one.scored(official).ravel(), dtype=torch.float32) for one in pictures]
        plain, found = [float(one.mean()) for one in values], [official.logged(one) for one in values]
        told = f"{title} @official; {found[0].how}"
        yield _numbers("7 mean of batch means", told, plain, [one.value for one in found])


def _numbers(trap: str, of: str, plain: list[Any], trapped: list[Any]) -> list[str]:
    a, b = (one[1] - one[0] for one in (plain, trapped))
    shown = ("NaN" if np.isnan(one) else f"{one:{sign}.4f}" for one, sign in ((trapped[0], ""), (a, "+"), (b, "+")))
    return [trap, of, f"{plain[0]:.4f}", *shown]


def _paired(a: RunStore, b: RunStore, metric: str) -> str:
    found = difference(read_run(a), read_run(b), metric).interval
    return f"{found.mean:+.4f} ± {(found.high - found.low) / 2:.4f}"


def generated(results: Path, made: dict[str, RunStore]) -> Iterator[list[str]]:
    """Traps 2, 8 and 9, of how pictures are made."""
    base, refl, combined = (made[name] for name in ("base", "refl", "combined"))
    names: dict[str, Any] = {"metrics": ["pickscore", "lpips"]}
    extra = with_extra_step(lambda: bench.run("shapes", ["refl"], results=results / "extra-step", **names))
    (other,) = bench.run("shapes", ["refl"], seed=43, results=results, **names)
    (guided,) = bench.run("shapes", ["combined"], settings={"tuned_guidance": GUIDANCE}, results=results, **names)
    for metric, title in (("pickscore", "PickScore"), ("lpips", "LPIPS")):
        whole = _paired(base, refl, metric)
        yield ["2 extra step at switch 0", title, "", "", whole, _paired(base, extra[0], metric)]
        yield ["8 noise of its own", title, "", "", whole, _paired(base, other, metric)]
        told = f"{title}, combined - base; guidance 1 as is run, {GUIDANCE} as the configuration would say"
        yield ["9 guidance never read", told, "", "", _paired(base, combined, metric), _paired(base, guided, metric)]


def with_extra_step(work: Callable[[], Any]) -> Any:
    """Do work with the official code's extra step: the base model, at the last timestep, on the initial noise."""
    plain = sampling.run_tree

    def run_tree(model: Any, tree: Any, batch: Any, executed: Any = None) -> Iterator[Any]:
        scheduler = model.new_scheduler()
        noise = initial_noise(batch.seed, batch.prompt_ids, batch.samples, model.latents_shape)
        latents, last = noise.to(model.device, model.dtype), len(scheduler.timesteps) - 1
        with torch.inference_mode():
            t = scheduler.timesteps[last]
            prediction = model.predict("base", latents, t, batch.cond, GUIDANCE)
            extra = {"generator": generators(batch.seed, batch.prompt_ids, batch.samples, 0)}
            latents = take_step(scheduler, prediction, last, latents, extra)
        yield from sampling.run_from(model, tree, batch, latents, model.new_scheduler(), Counter())

    sampling.run_tree = run_tree
    try:
        return work()
    finally:
        sampling.run_tree = plain


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results/traps"), help="folder of the runs")
    results = parser.parse_args().results
    methods = ["base", "refl", "combined"]
    made = dict(zip(methods, bench.run("shapes", methods, results=results), strict=True))
    lines = [
        *generated(results, made),
        *measured(made["base"], made["refl"]),
        *logged(made["base"], made["refl"]),
    ]
    print("\n".join(markdown_table(HEAD, sorted(lines, key=lambda one: one[0]), right=range(2, len(HEAD)))))


if __name__ == "__main__":
    main()
