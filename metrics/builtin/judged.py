"""Metrics that a vision-language model judges: several that share one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metrics.builtin.row import Row, row
from metrics.types import Direction, Kind

QWEN = "Qwen/Qwen3-VL-8B-Instruct"
QWEN_MEGABYTES = 16_722
"""8,767,123,696 parameters in bfloat16."""
_SHARED: dict[str, Any] = {
    "kind": Kind.IMAGE,
    "direction": Direction.HIGHER,
    "megabytes": QWEN_MEGABYTES,
    "beside": (),
    "network": "qwen3_vl",
    "address_options": ("url", "api_key_env"),
}
_JUDGE = {"backbone_dtype": "file", "url": None, "model": None, "api_key_env": None}
_GENEVAL2 = {
    **_SHARED,
    "unit": "p(expected answer)",
    "low": 0.0,
    "high": 1.0,
    "weights": QWEN,
    "licence": "Apache-2.0 (judge); questions: CC-BY-NC-4.0",
    "citation": "Kamath et al. 2025, GenEval 2, arXiv 2512.16853 (checked against our reading)",
    "options": {**_JUDGE, "questions": None},
    "weight_options": ("questions",),
    "prompt_set": "geneval2",
}


def _geneval2(name: str, title: str, order: int) -> Row:
    return row("metrics.image.geneval2:GenEval2", name=name, title=title, order=order, **_GENEVAL2)


def own_question(name: str, question: str, answers: Sequence[str] | None = None) -> Row:
    """The row of a question that a suite asks under a name of its own, with the answers that it lists."""
    if answers is not None:
        return row(
            "metrics.group.attribute:AttributeCoverage",
            name=name,
            title=name,
            unit="coverage of the listed answers",
            low=0.0,
            high=1.0,
            weights=QWEN,
            licence="Apache-2.0 (judge)",
            citation="a question of the suite's own, in the manner of GRADE, arXiv 2410.22592",
            options={**_JUDGE, "value": "entropy", "question": question, "answers": list(answers)},
            **{**_SHARED, "kind": Kind.GROUP},
        )
    return row(
        "metrics.image.vqascore:OwnQuestion",
        name=name,
        title=name,
        unit="p(Yes)",
        low=0.0,
        high=1.0,
        weights=QWEN,
        licence="Apache-2.0 (judge)",
        citation="a question of the suite's own; Lin et al. 2024, VQAScore, arXiv 2404.01291 (the probability)",
        options={**_JUDGE, "question": question},
        **_SHARED,
    )


ROWS: tuple[Row, ...] = (
    row(
        "metrics.image.vqascore:VQAScore",
        name="vqascore",
        title="VQAScore",
        order=100,
        unit="p(Yes)",
        low=0.0,
        high=1.0,
        weights=QWEN,
        licence="Apache-2.0 (judge)",
        citation="Lin et al. 2024, VQAScore, arXiv 2404.01291; judge and question of GenEval 2, arXiv 2512.16853 "
        "(checked against our reading)",
        options=_JUDGE,
        **_SHARED,
    ),
    _geneval2("geneval2", "GenEval 2 (Soft-TIFA AM)", 101),
    _geneval2("geneval2_gm", "GenEval 2 (Soft-TIFA GM)", 102),
    _geneval2("geneval2_object", "GenEval 2 (objects)", 103),
    _geneval2("geneval2_attribute", "GenEval 2 (attributes)", 104),
    _geneval2("geneval2_count", "GenEval 2 (counts)", 105),
    _geneval2("geneval2_position", "GenEval 2 (positions)", 106),
    _geneval2("geneval2_verb", "GenEval 2 (verbs)", 107),
    row(
        "metrics.image.unified_reward:UnifiedReward",
        name="unified_reward",
        title="UnifiedReward 2.0",
        order=110,
        unit="score from 1 to 5",
        low=1.0,
        high=5.0,
        weights="CodeGoat24/UnifiedReward-2.0-qwen3vl-8b",
        licence="MIT",
        citation="Wang et al. 2025, UnifiedReward, arXiv 2503.05236 (checked against our reading)",
        options={**_JUDGE, "axis": "mean", "most_tokens": 4096},
        **_SHARED,
    ),
)
