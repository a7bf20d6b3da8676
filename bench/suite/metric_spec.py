"""A metric of a suite: its weights and options, or what the suite defines under a name of its own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from bench.formatting import is_safe_name
from bench.suite.override import Part, Text

DType = Literal["float32", "float16", "bfloat16"]

DEFAULTS = {"torchmetrics": None, "question": None, "answers": None, "dtype": "float32", "tf32": False}
"""Keys that a resolved suite leaves out where they are not set: suites of before resolve to what they did."""


class MetricSpec(Part):
    """A metric of the suite: its weights (None: the published ones) and the options of `metrics.load`.

    With `torchmetrics` ("image.TotalVariation") the name is the suite's own, and the options are the class's arguments;
    with `question` it is the suite's own too, and a vision-language model answers the question for every image;
    `answers` make it a measure of how many of them the images of a prompt show.
    `dtype` is that of its networks; `tf32` lets CUDA multiply float32 as TensorFloat-32. Both are part of its card.
    """

    weights: Text | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    torchmetrics: Text | None = None
    question: Text | None = None
    answers: Annotated[list[Text], Field(min_length=2)] | None = None
    dtype: DType = "float32"
    tf32: bool = False


def define_metric(name: str, spec: MetricSpec) -> None:
    """Make a metric that a suite defines known by its name; others are left alone. ValueError says what is wrong."""
    from metrics.definitions import define, define_question
    from metrics.errors import MetricError

    if spec.answers is not None and spec.question is None:
        raise ValueError(f"metrics.{name} has answers and needs the question that they answer")
    if spec.torchmetrics is None and spec.question is None:
        return
    if not is_safe_name(name):
        raise ValueError(f"metrics: '{name}' must be usable as a folder name (A-Z a-z 0-9 . _ -)")
    if spec.torchmetrics is not None and spec.question is not None:
        raise ValueError(f"metrics.{name} has both torchmetrics and question: remove one")
    if spec.torchmetrics is not None and spec.weights is not None:
        raise ValueError(f"metrics.{name} is a class of torchmetrics and takes no weights")
    for key in {"question", "answers"} & spec.options.keys():
        raise ValueError(f"metrics.{name}.options.{key}: write {key} in [metrics.{name}] itself")
    try:
        if spec.torchmetrics is not None:
            define(name, spec.torchmetrics, spec.options)
        else:
            define_question(name, str(spec.question), spec.answers)
    except MetricError as error:
        raise ValueError(f"metrics: {error}") from None
