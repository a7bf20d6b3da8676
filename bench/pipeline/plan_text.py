"""What `bench plan` prints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.formatting import aligned

if TYPE_CHECKING:
    from bench.pipeline.plan import Detectable, Plan


def plan_text(found: Plan) -> str:
    """The plan for a terminal."""
    saved = 1 - found.evaluations_shared / found.evaluations_alone if found.evaluations_alone else 0.0
    evaluations = f"{found.evaluations_alone:,} alone, {found.evaluations_shared:,} shared ({saved:.0%} less)"
    lines = [
        ["images", f"{found.images:,} ({len(found.methods)} methods x {found.prompts} prompts x {found.samples})"],
        ["of them missing", f"{found.missing:,}"],
        ["network evaluations", evaluations],
        ["time", _time(found)],
        ["disk", f"about {found.disk_megabytes:,.0f} MB of images"],
        ["to fetch", "nothing" if not found.fetch else f"{len(found.fetch)} files"],
    ]
    text = aligned([found.suite, ", ".join(found.methods)], lines, left=2)
    for one in found.fetch:
        size = "size unknown" if one.megabytes is None else f"{one.megabytes:,g} MB"
        text += f"  {one.name} ({one.what}, {size})\n"
    if not found.detectable:
        return text + "no two earlier runs to learn from: what it could tell is not known\n"
    asked = any(math.isfinite(one.target) for one in found.detectable)
    head = ["metric", "from", "detects", "allowance", *(["target", "prompts", "samples", "cheaper"] if asked else [])]
    rows = [_row(one, asked) for one in found.detectable]
    told = (
        f"from {found.pilot}; detects: the difference that {found.prompts} prompts x {found.samples} images tell with "
        "90 % probability at 95 %;\nallowance: the drop that a gate must allow to pass when only the seed changed; "
        "prompts, samples: how many of them the target takes, with the other as planned\n"
    )
    return f"{text}\n{aligned(head, rows, left=2)}{told}"


def _row(one: Detectable, asked: bool) -> list[str]:
    cells = [one.metric, one.of, _n(one.detects), _n(one.allowance)]
    return [*cells, _n(one.target), _count(one.prompts), _count(one.samples), one.cheaper] if asked else cells


def _time(found: Plan) -> str:
    if not math.isfinite(found.seconds):
        return "unknown: there are no earlier runs of this suite here"
    return f"about {found.seconds:,.0f} s, as fast as the slowest of {found.pilot}"


def _n(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-"


def _count(value: float) -> str:
    return "-" if math.isnan(value) else "none would do" if math.isinf(value) else f"{value:,.0f}"
