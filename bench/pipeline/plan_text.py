"""What `bench plan` prints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.formatting import aligned

if TYPE_CHECKING:
    from bench.pipeline.plan import Detectable, Plan


def plan_text(plan: Plan) -> str:
    """The plan for a terminal."""
    saved = 1 - plan.evaluations_shared / plan.evaluations_alone if plan.evaluations_alone else 0.0
    evaluations = f"{plan.evaluations_alone:,} alone, {plan.evaluations_shared:,} shared ({saved:.0%} less)"
    lines = [
        ["images", f"{plan.images:,} ({len(plan.methods)} methods x {plan.prompts} prompts x {plan.samples})"],
        ["of them missing", f"{plan.missing:,}"],
        ["network evaluations", evaluations],
        ["time", _time(plan)],
        ["disk", f"about {plan.disk_megabytes:,.0f} MB of images"],
        ["to fetch", "nothing" if not plan.fetch else f"{len(plan.fetch)} files"],
    ]
    text = aligned([plan.suite, ", ".join(plan.methods)], lines, left=2)
    for one in plan.fetch:
        size = "size unknown" if one.megabytes is None else f"{one.megabytes:,g} MB"
        text += f"  {one.name} ({one.what}, {size})\n"
    if not plan.detectable:
        return text + "no two earlier runs to learn from: what it could tell is not known\n"
    asked = any(math.isfinite(one.target) for one in plan.detectable)
    head = ["metric", "from", "detects", "allowance", *(["target", "prompts", "samples", "cheaper"] if asked else [])]
    rows = [_row(one, asked) for one in plan.detectable]
    told = (
        f"from {plan.pilot}; detects: the difference that {plan.prompts} prompts x {plan.samples} images tell with "
        "90 % probability at 95 %;\nallowance: the drop that a gate must allow to pass when only the seed changed; "
        "prompts, samples: how many of them the target takes, with the other as planned\n"
    )
    return f"{text}\n{aligned(head, rows, left=2)}{told}"


def _row(detectable: Detectable, asked: bool) -> list[str]:
    cells = [detectable.metric, detectable.of, _n(detectable.detects), _n(detectable.allowance)]
    return (
        [*cells, _n(detectable.target), _count(detectable.prompts), _count(detectable.samples), detectable.cheaper]
        if asked
        else cells
    )


def _time(plan: Plan) -> str:
    if not math.isfinite(plan.seconds):
        return "unknown: there are no earlier runs of this suite here"
    return f"about {plan.seconds:,.0f} s, as fast as the slowest of {plan.pilot}"


def _n(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-"


def _count(value: float) -> str:
    return "-" if math.isnan(value) else "none would do" if math.isinf(value) else f"{value:,.0f}"
