"""What is asked of the images of each prompt: files with a line of JSON a prompt, such as benchmarks publish them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from metrics.errors import MetricError, MissingWeightsError, first_line

T = TypeVar("T")


def questions_file(name: str, given: object, needs: str) -> Path:
    """The file that a metric's option names. MissingWeightsError without one; `needs` says which one is needed."""
    if given is None:
        raise MissingWeightsError(f"{name} needs {needs} as questions")
    path = Path(str(given)).expanduser()
    if not path.is_file():
        raise MissingWeightsError(f"{name}: the file of questions '{path}' does not exist")
    return path


def read_prompts(path: Path, form: str, read: Callable[[Any], T]) -> Iterator[tuple[int, str, T]]:
    """The number of each line that is not blank, its "prompt" as it is looked up, and what `read` makes of the line.

    MetricError names a line that is none of a file called `form`.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            yield number, one_spaced(row["prompt"]), read(row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else first_line(error, 120)
            raise MetricError(f"{path}: line {number}: not a line of {form} ({reason})") from None


def one_spaced(text: str) -> str:
    """A prompt as it is looked up."""
    return " ".join(text.split())
