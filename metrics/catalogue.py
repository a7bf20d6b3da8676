"""The metrics there are: facts, and where the code is. Imports nothing heavy; classes are loaded on use."""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points
from typing import Any

from metrics.errors import MetricError, MissingWeightsError, UnknownMetricError
from metrics.types import Direction, Facts, Kind

ENTRY_POINTS = "bench.metrics"

_FACTS: dict[str, Facts] = {}
_TARGETS: dict[str, str] = {}
_BROKEN: dict[str, str] = {}
_plugins_read = False


def register(name: str, target: str, facts: Facts) -> None:
    """Add a metric: `target` is "module:Class", whose classmethod `load(facts, request)` makes the metric.

    Registering the same target again is harmless (a module may be imported twice); another target under a taken
    name raises MetricError.
    """
    if ":" not in target:
        raise MetricError(f"metric '{name}': target '{target}' must be written as 'module:Class'.")
    if facts.name != name:
        raise MetricError(f"metric '{name}' is registered with the facts of '{facts.name}': use the same name in both.")
    if _TARGETS.get(name, target) != target:
        raise MetricError(f"metric name '{name}' is taken by {_TARGETS[name]}: register {target} under another name.")
    _FACTS[name], _TARGETS[name] = facts, target


def _read_plugins() -> None:
    """Call every entry point of group `bench.metrics` once: light functions that call `metrics.register`.

    A broken plug-in must not take the other metrics with it; it is named when an unknown metric is asked for.
    """
    global _plugins_read
    if _plugins_read:
        return
    _plugins_read = True
    for point in entry_points(group=ENTRY_POINTS):
        try:
            point.load()()
        except Exception as error:
            _BROKEN[point.name] = f"{type(error).__name__}: {error}"


def names() -> list[str]:
    """All metric names, in order of registration."""
    _read_plugins()
    return list(_FACTS)


def info(name: str) -> Facts:
    """The facts of a metric; UnknownMetricError (with a suggestion) if there is none of that name."""
    _read_plugins()
    if name in _FACTS:
        return _FACTS[name]
    close = difflib.get_close_matches(name, _FACTS, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    broken = "".join(f" Plug-in '{key}' could not be read ({why})." for key, why in _BROKEN.items())
    raise UnknownMetricError(f"unknown metric '{name}'.{hint} Known metrics: {', '.join(_FACTS)}.{broken}")


def find_class(name: str) -> Any:
    """Import and return the class of a metric; MissingWeightsError if a package it needs is absent."""
    info(name)
    module, _, attribute = _TARGETS[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise MissingWeightsError(
            f"metric '{name}' needs the package '{missing}', which is not installed: "
            f"run `pip install {' '.join(info(name).packages) or missing}`."
        ) from error


def _add(target: str, **facts: Any) -> None:
    made = Facts(**facts)
    register(made.name, target, made)


_HPS = {
    "kind": Kind.IMAGE,
    "direction": Direction.HIGHER,
    "unit": "cosine",
    "low": -1.0,
    "high": 1.0,
    "packages": ("open_clip_torch",),
    "licence": "Apache-2.0",
    "citation": "Wu et al. 2023, Human Preference Score v2, arXiv 2306.09341",
    "options": {"antialias": False},
}
_INCEPTION = {
    "weights": "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
    "sha256": ("6726825d",),
    "packages": ("torch_fidelity",),
    "licence": "Apache-2.0",
    "kind": Kind.SET,
    "direction": Direction.LOWER,
}

_add(
    "metrics.image_reward:ImageReward",
    name="image_reward",
    title="ImageReward",
    kind=Kind.IMAGE,
    direction=Direction.HIGHER,
    unit="normalised reward",
    weights="THUDM/ImageReward:ImageReward.pt",
    sha256=("d71dc8d4912bc633c06ab8ef1ef6a81e8199d4369f14b47b29baf1d19de561f6",),
    licence="Apache-2.0",
    citation="Xu et al. 2023, ImageReward, arXiv 2304.05977",
)
_add(
    "metrics.hpsv2:HPSv2",
    name="hpsv2",
    title="HPSv2",
    version="2.0",
    weights="xswu/HPSv2:HPS_v2_compressed.pt",
    sha256=("07cb0d20626232204ca3a6ec53ff5984e7e53212a8a7b0e0ec2bac1bdaf125a1",),
    **_HPS,
)
_add(
    "metrics.hpsv2:HPSv2",
    name="hpsv2.1",
    title="HPSv2.1",
    version="2.1",
    weights="xswu/HPSv2:HPS_v2.1_compressed.pt",
    sha256=("c57a38fb4a2f7e7c15bf00da2ea377cdf165448b4dd1052a484c215a998c9837",),
    **_HPS,
)
_add(
    "metrics.clip_hf:PickScore",
    name="pickscore",
    title="PickScore",
    kind=Kind.IMAGE,
    direction=Direction.HIGHER,
    unit="logit-scaled cosine",
    weights="yuvalkirstain/PickScore_v1",
    sha256=("ef31ef6fc5ff4d9bb90dd232df4e145887ba62c5a03aa2841415f8c25f18d52e",),
    licence="MIT",
    citation="Kirstain et al. 2023, Pick-a-Pic, arXiv 2305.01569",
)
_add(
    "metrics.clip_hf:CLIPScore",
    name="clip_score",
    title="CLIPScore",
    kind=Kind.IMAGE,
    direction=Direction.HIGHER,
    unit="100 x cosine",
    low=-100.0,
    high=100.0,
    weights="openai/clip-vit-large-patch14",
    licence="MIT",
    citation="Hessel et al. 2021, CLIPScore, arXiv 2104.08718 (here 100 cos, neither prefix nor clamp)",
)
_add(
    "metrics.lpips:LPIPS",
    name="lpips",
    title="LPIPS diversity",
    kind=Kind.GROUP,
    direction=Direction.HIGHER,
    unit="mean pairwise LPIPS",
    low=0.0,
    weights="the lpips package (v0.1) on torchvision's ImageNet trunks",
    sha256=("7be5be79", "397923af", "b8a52dc0"),
    packages=("lpips",),
    licence="BSD-2-Clause",
    citation="Zhang et al. 2018, The Unreasonable Effectiveness of Deep Features, arXiv 1801.03924",
    options={"net": "alex"},
)
_add(
    "metrics.dreamsim:DreamSim",
    name="dreamsim",
    title="DreamSim diversity",
    kind=Kind.GROUP,
    direction=Direction.HIGHER,
    unit="mean pairwise DreamSim",
    low=0.0,
    high=2.0,
    weights="the dreamsim package's release",
    packages=("dreamsim",),
    licence="MIT",
    citation="Fu et al. 2023, DreamSim, arXiv 2306.09344",
    options={"type": "ensemble"},
)
_add(
    "metrics.dino:Dino",
    name="dino",
    title="DINO diversity",
    kind=Kind.GROUP,
    direction=Direction.HIGHER,
    unit="mean pairwise 1 - cosine",
    low=0.0,
    high=2.0,
    weights="facebook/dino-vits16",
    licence="Apache-2.0",
    citation="Caron et al. 2021, Emerging Properties in Self-Supervised Vision Transformers, arXiv 2104.14294",
)
_add(
    "metrics.vendi:Vendi",
    name="vendi",
    title="Vendi score (DINO)",
    kind=Kind.GROUP,
    direction=Direction.HIGHER,
    unit="effective number of images",
    low=1.0,
    weights="facebook/dino-vits16",
    licence="Apache-2.0",
    citation="Friedman and Dieng 2023, The Vendi Score, arXiv 2210.02410 (q = 1, cosine kernel)",
)
_add(
    "metrics.fid:FID",
    name="fid",
    title="FID",
    unit="Frechet distance",
    low=0.0,
    citation="Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule, arXiv 1706.08500",
    **_INCEPTION,
)
_add(
    "metrics.kid:KID",
    name="kid",
    title="KID",
    unit="squared MMD",
    citation="Binkowski et al. 2018, Demystifying MMD GANs, arXiv 1801.01401 (unbiased, all images at once)",
    **_INCEPTION,
)
