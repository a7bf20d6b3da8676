"""UnifiedReward 2.0 (Wang et al. 2025, arXiv 2503.05236): a Qwen3-VL writes three scores from 1 to 5.

The text of the instruction (unified_reward_instruction.txt) is the model's input and comes from its authors' program
for version 2.0 (github.com/CodeGoat24/UnifiedReward, MIT licence). The answer is decoded greedily and read by a regular
expression; an answer without the scores is the reason why an image has no value, never a value of 0. The authors send
the image as JPEG of quality 95 to a server; here the judge sees the pixels as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from metrics.errors import BadInputError, MetricError
from metrics.judge.metric import OPTION_HELP, JudgedImageMetric
from metrics.types import Facts, Request, one_of

AXES = ("alignment", "coherence", "style")
CHOICES = ("mean", *AXES)
_INSTRUCTION = Path(__file__).with_name("unified_reward_instruction.txt")
_SCORE = re.compile(r"(Alignment|Coherence|Style)\s+Score\s*(?:\(1-5\))?\s*:\s*([-+]?\d+(?:\.\d+)?)", re.IGNORECASE)
_SHOWN = 60


class UnifiedReward(JudgedImageMetric):
    """The mean of the scores for alignment, coherence and style, or one of them, in 1..5; higher is better."""

    needs_probabilities: ClassVar[bool] = False
    option_help: ClassVar[Mapping[str, str]] = {
        **OPTION_HELP,
        "axis": one_of(CHOICES) + ": which score is the value",
        "most_tokens": "of an answer, as in the authors' program",
    }

    @classmethod
    def settings(cls, facts: Facts, request: Request) -> dict[str, Any]:
        """The instruction, how its answer is decoded, and which score counts."""
        axis, most = request.options["axis"], request.options["most_tokens"]
        if axis not in CHOICES:
            raise MetricError(f"{facts.name}: axis {axis!r} is not one of {', '.join(CHOICES)}")
        if type(most) is not int or most < 1:
            raise MetricError(f"{facts.name}: most_tokens {most!r} is not a positive integer")
        return {
            "instruction": "UnifiedReward 2.0's for alignment, coherence and style",
            "decoding": f"greedy, at most {most} tokens",
            "axis": axis,
            "most_tokens": most,
            "image": "as it is (the authors' program: JPEG of quality 95)",
            "checked": "against our reading of the authors' program",
        }

    def value(self, image: Image.Image, prompt: str) -> float:
        """The chosen score. BadInputError with what the model wrote where it is none."""
        question = _INSTRUCTION.read_text(encoding="utf-8").replace("{text_prompt}", prompt)
        scores = parsed(self.judge.text(image, question, int(self.card.settings["most_tokens"])))
        axis = str(self.card.settings["axis"])
        wanted = AXES if axis == "mean" else (axis,)
        absent = [one for one in wanted if one not in scores]
        if absent:
            raise BadInputError(f"the answer has no score for {' and '.join(absent)}")
        return math.fsum(scores[one] for one in wanted) / len(wanted)


def parsed(answer: str) -> dict[str, float]:
    """The scores that an answer states, by axis. BadInputError: none, two of one axis, or one outside 1..5.

    >>> parsed("Alignment Score (1-5): 2.5\\nCoherence Score (1-5): 4\\nStyle Score (1-5): 3")
    {'alignment': 2.5, 'coherence': 4.0, 'style': 3.0}
    """
    found: dict[str, float] = {}
    for name, number in _SCORE.findall(answer.replace("*", "")):
        axis, score = name.lower(), float(number)
        if found.setdefault(axis, score) != score:
            raise BadInputError(f"the answer states two scores for {axis}: {found[axis]:g} and {score:g}")
        if not 1 <= score <= 5:
            raise BadInputError(f"the answer's score for {axis} is {score:g}, not within 1 to 5")
    if not found:
        shown = "".join(letter if letter.isprintable() else "?" for letter in " ".join(answer.split()))
        raise BadInputError(f"the answer states no score: '{shown[:_SHOWN]}{'...' if len(shown) > _SHOWN else ''}'")
    return found
