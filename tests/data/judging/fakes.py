"""Runs with invented scores for the tests of the judging stages. Load with `runpy.run_path`."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np

from bench.store.records import ImageRow, Manifest, ScoreRow
from bench.store.run_store import RunStore

CARDS: dict[str, dict[str, Any]] = {
    "pickscore": {"title": "PickScore", "kind": "image", "direction": "higher", "unit": "logit-scaled cosine"},
    "image_reward": {"title": "ImageReward", "kind": "image", "direction": "higher", "unit": "normalised reward"},
    "hpsv2.1": {"title": "HPSv2.1", "kind": "image", "direction": "higher", "unit": "cosine"},
    "attribute_accuracy": {"title": "Attribute accuracy", "kind": "image", "direction": "higher", "unit": "share"},
    "lpips": {"title": "LPIPS diversity", "kind": "group", "direction": "higher", "unit": "mean pairwise LPIPS"},
    "dreamsim": {"title": "DreamSim diversity", "kind": "group", "direction": "higher", "unit": "mean pairwise"},
    "attribute_entropy": {"title": "Attribute entropy", "kind": "group", "direction": "higher", "unit": "bits"},
    "fid": {"title": "FID", "kind": "set", "direction": "lower", "unit": "Frechet distance"},
}
# method -> metric -> mean; spread per metric below
MEANS: dict[str, dict[str, float]] = {
    "base": dict(zip(CARDS, (19.8, 0.12, 0.241, 0.87, 0.412, 0.338, 1.71, 21.3), strict=True)),
    "refl": dict(zip(CARDS, (21.9, 0.71, 0.268, 0.94, 0.261, 0.204, 0.88, 48.9), strict=True)),
    "combined": dict(zip(CARDS, (21.1, 0.52, 0.259, 0.92, 0.352, 0.281, 1.36, 33.0), strict=True)),
    "imagerefl": dict(zip(CARDS, (21.3, 0.60, 0.262, 0.93, 0.371, 0.301, 1.49, 27.4), strict=True)),
}
SPREAD = dict(zip(CARDS, (1.2, 0.5, 0.015, 0.12, 0.05, 0.05, 0.35, 0.0), strict=True))


def card(metric: str, **changes: Any) -> dict[str, Any]:
    """An identity card as `metrics` writes it."""
    made = {"name": metric, "version": "1", "label": "shapes", **CARDS[metric], **changes}
    made["digest"] = hashlib.sha256(repr(sorted(made.items())).encode()).hexdigest()
    return made


def rows(method: str, metric: str, prompts: int, samples: int, seed: int, means: dict[str, float]) -> list[ScoreRow]:
    """Scores with a part that all methods share per prompt, as real ones have."""
    kind, mean, spread = CARDS[metric]["kind"], means[metric], SPREAD[metric]
    if kind == "set":
        return [ScoreRow(None, None, mean)]
    shared = np.random.default_rng([seed, 1]).normal(size=prompts)
    own = np.random.default_rng([seed, len(method), ord(method[0]), len(metric), ord(metric[0])])
    count = samples if kind == "image" else 1
    values = mean + spread * (0.8 * shared[:, None] + 0.5 * own.normal(size=(prompts, count)))
    return [
        ScoreRow(f"p{p:04d}", s if kind == "image" else None, round(float(values[p, s]), 5))
        for p in range(prompts)
        for s in range(count)
    ]


def make(
    results: Path,
    method: str,
    *,
    metrics: tuple[str, ...] = tuple(CARDS),
    prompts: int = 32,
    samples: int = 5,
    seed: int = 42,
    suite: str = "shapes",
    means: dict[str, float] | None = None,
    status: str = "complete",
    cards: dict[str, dict[str, Any]] | None = None,
    images: bool = False,
    trained_on: list[str] | None = None,
    text: str = "a red circle on a {} background, number {}",
    texts: dict[int, str] | None = None,
    tags: tuple[str, ...] = (),
    created: str = "",
) -> RunStore:
    """A complete run folder; `images` also draws small pictures; prompts have one of the tags each, in turn.

    Runs that were `created` at other times are other runs.
    """
    identity = {"seed": seed, "prompts": prompts, "method": method, "suite": suite, "sampler": {"steps": 40}}
    identity |= {"made": created} if created else {}
    hash8 = hashlib.sha256(repr(identity).encode()).hexdigest()[:8]
    folder = re.sub(r"[^A-Za-z0-9._-]+", "-", method).strip("-")
    store = RunStore.create(results, suite, folder, hash8)
    listed = [
        {
            "id": f"p{p:04d}",
            "text": text.format(["blue", "white", "dark", "green"][p % 4], p),
            "tags": [tags[p % len(tags)]] if tags else [],
        }
        for p in range(prompts)
    ]
    for index, other in (texts or {}).items():
        listed[index]["text"] = other
    for metric in metrics:
        known = means or MEANS[method]
        store.append_scores(
            metric, rows(method, metric, prompts, samples, seed, known), (cards or {}).get(metric) or card(metric)
        )
    if images:
        draw(store, method, prompts, samples, listed)
    store.write_manifest(
        Manifest(
            status=status,
            suite=suite,
            method=method,
            run=f"{folder}@{hash8}",
            identity=identity,
            resolved_suite={"label": "shapes", "title": "Shapes", "seed": seed},
            resolved_method={"name": method},
            prompts=listed,
            samples=samples,
            trained_on=trained_on if trained_on is not None else [] if method == "base" else ["pickscore"],
            counts={"images": prompts * samples},
            timings={},
            cards={},
            provenance={"created": created} if created else {},
        )
    )
    return store


def draw(store: RunStore, method: str, prompts: int, samples: int, listed: list[dict[str, Any]]) -> None:
    """Discs of which the size and place vary less for tuned methods."""
    spread = {"base": 1.0, "refl": 0.2, "combined": 0.6, "imagerefl": 0.75}.get(method, 0.5)
    y, x = np.mgrid[:64, :64]
    drawn = []
    for p in range(min(prompts, 6)):
        for s in range(samples):
            index = np.random.default_rng([p, s]).normal(size=3) * spread
            inside = np.hypot(x - 32 - 10 * index[0], y - 32 - 10 * index[1]) < 14 + 5 * index[2]
            back = np.asarray([(40, 60, 160), (240, 240, 240), (40, 40, 45), (60, 140, 80)])[p % 4]
            pixels = np.where(inside[None], np.asarray([210, 50, 40])[:, None, None], back[:, None, None])
            path, digest = store.save_image(listed[p]["id"], s, pixels.astype(np.uint8))
            drawn.append(ImageRow(listed[p]["id"], listed[p]["text"], s, 42, path, digest, 0.1))
    store.append_images(drawn)
