"""The table of all metrics as Markdown, from the catalogue: `python -m metrics.docs > docs/metrics.md`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from metrics.builtin import BUILTIN
from metrics.markdown import markdown_table
from metrics.types import Facts
from metrics.weights.hub_name import parse
from metrics.weights.pins import pinned

_HEAD = """# Metrics

Written by `python -m metrics.docs > docs/metrics.md` from the catalogue; the tests fail when it is out of date.

An image metric gives a value for an image and its prompt, a group metric for the images of one prompt, a set metric for
all images against a reference set. An arrow points where better values are. What decides a value (digests of the
weights, resize, antialias, crop, mean and deviation, token limit, dtype, options) is in the identity card that is
stored with the scores: `metrics.load(...).card.to_dict()`. Weights that are not the published ones are labelled in the
title; the published ones are taken from the commit of their repository that is shown.
"""


def _range(facts: Facts) -> str:
    if facts.low is None and facts.high is None:
        return "unbounded"
    if facts.high is None:
        return f"from {facts.low:g}"
    return f"{facts.low:g} to {facts.high:g}" if facts.low is not None else f"up to {facts.high:g}"


def _source(facts: Facts) -> str:
    if facts.weights is None:
        return "none"
    name = facts.weights
    if name.startswith("https://"):
        return f"[{unquote(name.rpartition('/')[2])}]({name})"
    hub = parse(pinned(name))
    return f"{name} at {hub.revision[:8]}" if hub and hub.revision else name


def _main_row(facts: Facts) -> list[str]:
    name = f"`{facts.name}`" + (" (not supported)" if facts.unsupported else "")
    start = [
        name,
        facts.title,
        facts.kind.value,
        facts.unit,
        _range(facts),
        f"{facts.direction.arrow} {facts.direction.value}",
    ]
    return [*start, _source(facts), facts.licence, facts.citation]


def _meanings() -> Mapping[tuple[str, str], str]:
    """What the options are, where their names do not say it; choices are read from the code."""
    from metrics.group.lpips import TRUNKS
    from metrics.group.vendi_score import KERNELS
    from metrics.networks.clip_image import BACKBONES
    from metrics.networks.dreamsim_trunks import TYPES

    def one_of(names: Iterable[str]) -> str:
        return "one of " + ", ".join(f"`{name}`" for name in names)

    antialias = "of the float resize: off as published with torchvision up to 0.16, on as the same code does since 0.17"
    autocast = "on: float16 as the original under CUDA's autocast; off: float32, as the original on a CPU"
    return {
        ("hpsv2", "antialias"): antialias,
        ("hpsv2.1", "antialias"): antialias,
        ("hpsv2", "autocast"): autocast,
        ("hpsv2.1", "autocast"): autocast,
        ("clip_score", "backbone"): one_of(BACKBONES),
        ("clip_score", "variant"): '`cosine` (100 cos) or `paper` (2.5 max(cos, 0), prefix "A photo depicts ")',
        ("aesthetic", "clip"): "path or hub id of the CLIP, where it is not beside the predictor and not the published",
        ("lpips", "net"): f"{one_of(TRUNKS)}: demand this one; none: the one that the file holds, `alex` as published",
        ("dreamsim", "type"): one_of(TYPES),
        ("vendi", "backbone"): f"`dino`, `clip` (the first of the following), or {one_of(BACKBONES)}",
        ("vendi", "q"): 'order: any number above 0, or `"inf"`; small orders count rare images more',
        ("vendi", "kernel"): one_of(KERNELS),
        ("vendi", "bandwidth"): "of the rbf kernel, on L2-normalised embeddings",
        ("vendi", "k"): "give the score to expect of k of the K images, so that runs with other K can be compared",
        ("clip_diversity", "backbone"): one_of(BACKBONES),
    }


def _options(facts: Iterable[Facts]) -> list[list[str]]:
    meanings = _meanings()
    return [
        [f"`{one.name}`", f"`{key}`", "none" if value is None else f"`{value}`", meanings.get((one.name, key), "")]
        for one in facts
        for key, value in one.options.items()
    ]


def document() -> str:
    """The whole page, ending in a newline."""
    facts = [one for _, one in BUILTIN]
    head = ("name", "title", "kind", "unit", "range", "better", "weights", "licence", "citation")
    lines = [_HEAD, *markdown_table(head, map(_main_row, facts)), "", "## Options", ""]
    lines += ["Of `metrics.load(name, ...)` and of a suite's `[metrics.NAME.options]`, with their defaults.", ""]
    lines += markdown_table(("name", "option", "default", "meaning"), _options(facts))
    lines += ["", "## Not supported", ""]
    lines += [f"- `{one.name}` ({one.title}), because {one.unsupported}." for one in facts if one.unsupported]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
