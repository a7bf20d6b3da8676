"""The values of this project's scorers on a fixture, through the same public calls that users make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

import metrics
from bench.doctor.parity.fixtures import IMAGE_SCORERS, NETS, TYPES, Fixture
from bench.doctor.parity.trunks import TRUNK_FILES
from metrics import MetricError

Value = float | dict[str, str]


def _open(folder: Path, file: str) -> Image.Image:
    """An image as its file has it; one of 16 bits a channel is made RGB first, without which ours refuses it.

    PIL cuts such values off at 255, and so do the originals that take them.
    """
    with Image.open(folder / file) as opened:
        opened.load()
        return opened.convert("RGB") if opened.mode.startswith("I") else opened


def _refused(error: MetricError) -> dict[str, str]:
    return {"raises": " ".join(str(error).split())[:160]}


def _image_values(metric: Any, fixture: Fixture, folder: Path) -> list[Value]:
    """All pairs in one call; where that is refused, pair by pair, so that it is said of the image concerned alone."""
    images = [_open(folder, file) for file in fixture.images]
    rows = [(images[image], fixture.prompts[prompt]) for image, prompt in fixture.pairs]
    try:
        return list(metric.score([image for image, _ in rows], [prompt for _, prompt in rows]).tolist())
    except MetricError:
        return [_attempt(metric, image, prompt) for image, prompt in rows]


def _attempt(metric: Any, image: Image.Image, prompt: str) -> Value:
    try:
        return float(metric.score([image], [prompt]).item())
    except MetricError as error:
        return _refused(error)


def _upper(distances: Any) -> list[Value]:
    count = len(distances)
    return [distances[a, b].item() for a in range(count) for b in range(a + 1, count)]


def _lpips_values(metric: Any, fixture: Fixture, folder: Path) -> list[Value]:
    values: list[Value] = []
    for group in fixture.lpips:
        try:
            values += _upper(metric.pairwise([_open(folder, file) for file in group]))
        except MetricError as error:
            values += [_refused(error)] * (len(group) * (len(group) - 1) // 2)
    return values


def _dreamsim_values(metric: Any, fixture: Fixture, folder: Path) -> list[Value]:
    return _upper(metric.pairwise([_open(folder, file) for file in fixture.dreamsim]))


def _image(name: str, folder: str, **options: Any) -> tuple[str, Callable[..., list[Value]], str, Mapping[str, Any]]:
    return name, _image_values, folder, options


# scorer of the table -> metric, how its values are listed, weights below the fixture, options
SCORERS: dict[str, tuple[str, Callable[..., list[Value]], str, Mapping[str, Any]]] = {
    **{name: _image(name, "hpsv2" if name.startswith("hpsv2") else name) for name in IMAGE_SCORERS},
    "hpsv2.1-antialias": _image("hpsv2.1", "hpsv2", antialias=True),
    **{
        f"lpips-{net}": ("lpips", _lpips_values, f"torch/hub/checkpoints/{TRUNK_FILES[net]}", {"net": net})
        for net in NETS
    },
    **{f"dreamsim-{kind}": ("dreamsim", _dreamsim_values, "dreamsim", {"type": kind}) for kind in TYPES},
}


def load(scorer: str, folder: Path, **more: Any) -> Any:
    """The metric of one row of the table, with the fixture's weights, float32 on the CPU, and `more` options."""
    name, _, weights, options = SCORERS[scorer]
    return metrics.load(name, weights=folder / weights, device="cpu", **options, **more)


def run_ours(fixture: Fixture, folder: Path, only: Sequence[str]) -> dict[str, list[Value]]:
    """{scorer: values in the fixture's order}; {"raises": sentence} in place of a value that is refused."""
    return {scorer: SCORERS[scorer][1](load(scorer, folder), fixture, folder) for scorer in only}
