"""The page of the Python interface, from signatures and docstrings: `python -m bench.cli.api_page > docs/api.md`."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bench
import metrics
from bench.formatting import markdown_table

_HEAD = """# The Python interface

Written by `python -m bench.cli.api_page > docs/api.md` from the docstrings. The tests run the examples, and fail when
the page is out of date. In the examples RESULTS is a results folder, BASE the name of a run in it, OUT a new folder,
THRESHOLDS and CLAIMS are files, WEIGHTS is a folder of weights.

What a command does, the function of its name does, with a keyword for each flag. Functions raise
`bench.errors.BenchError` or `metrics.MetricError`, whose text is one sentence for the user, and whose `exit_code` is
that of the command: 2 wrong usage or bad input, 3 not comparable, 4 something needed is missing. Other exceptions are
bugs.
"""
_FUNCTIONS = (
    "run", "plan", "score", "report", "compare", "check", "claims", "agreement", "train", "make_reference",
    "load_results", "export_hub_results", "export_croissant", "track", "leaderboard", "check_records", "import_scores",
    "remove_runs", "register_method", "register_model",
)  # fmt: skip
_METRICS = ("names", "info", "load", "register")
_TYPES = ("Facts", "Request", "Card", "Kind", "Direction")
_WIDTH = 88


def page() -> str:
    """The whole page as Markdown, ending in a newline."""
    lines = [_HEAD, "## bench", ""]
    for name in _FUNCTIONS:
        lines += _function(f"bench.{name}", getattr(bench, name))
    for name in ("Method", "Schedule"):
        lines += _class(f"bench.{name}", getattr(bench, name))
    lines += ["## What they return", ""]
    for name, kind in _returned():
        lines += _class(name, kind)
    lines += ["## metrics", "", "Usable alone: it imports nothing of `bench`.", ""]
    for name in _METRICS:
        lines += _function(f"metrics.{name}", getattr(metrics, name))
    for name in _TYPES:
        lines += _class(f"metrics.{name}", getattr(metrics, name))
    return "\n".join(lines).rstrip() + "\n"


def _returned() -> Iterator[tuple[str, type]]:
    from bench.analysis.claims import Claims
    from bench.analysis.compare import Comparison
    from bench.analysis.differences import Difference
    from bench.analysis.stats import Interval
    from bench.gate.check import Outcome
    from bench.gate.verdict import Verdict
    from bench.pipeline.plan import Plan
    from bench.reporting.agreement import Agreement
    from bench.store.run_store import RunStore

    for kind in (RunStore, Plan, Comparison, Difference, Interval, Outcome, Verdict, Claims, Agreement):
        yield f"{kind.__module__}.{kind.__name__}", kind


def _function(name: str, function: Callable[..., Any]) -> list[str]:
    text, example = _parts(function)
    lines = [f"### {name}", "", "```text", _signature(name, function), "```", "", text, ""]
    return [*lines, "```pycon", example, "```", ""] if example else lines


def _class(name: str, kind: type) -> list[str]:
    text, _ = _parts(kind)
    lines = [f"### {name}", "", text, ""]
    if issubclass(kind, enum.Enum):
        return [*lines, f"One of {', '.join(f'`{value.value}`' for value in kind)}.", ""]
    rows = [*_fields(kind), *_members(kind)]
    return [*lines, *markdown_table(("name", "type", "what"), rows), ""] if rows else lines


def _fields(kind: type) -> Iterator[tuple[str, str, str]]:
    """The fields of a dataclass; what they mean is said in the text above them."""
    for name, field in getattr(kind, "__dataclass_fields__", {}).items():
        if not name.startswith("_"):
            yield f"`{name}`", f"`{_plain(field.type)}`", ""


def _members(kind: type) -> Iterator[tuple[str, str, str]]:
    """The public properties and methods that the class itself defines, with their first sentence."""
    for name, member in vars(kind).items():
        inner = member.fget if isinstance(member, property) else getattr(member, "func", None)
        function = inner or getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        first = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
        returned = _plain(function.__annotations__.get("return", ""))
        yield f"`{name}`" if inner else f"`{name}()`", f"`{returned}`", first


def _parts(thing: Any) -> tuple[str, str]:
    """The prose of a docstring, and its example."""
    text = inspect.getdoc(thing) or ""
    prose, found, example = text.partition("\n>>> ")
    return prose.strip(), f">>> {example}".strip() if found else ""


def _signature(name: str, function: Callable[..., Any]) -> str:
    """On one line, or a line for each parameter."""
    signature = inspect.signature(function)
    parts = []
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        parts.append(_parameter(parameter))
    end = f") -> {_plain(signature.return_annotation)}"
    whole = f"{name}({', '.join(parts)}{end}"
    return whole if len(whole) <= _WIDTH else "\n".join([f"{name}(", *(f"    {part}," for part in parts), end])


def _parameter(parameter: inspect.Parameter) -> str:
    stars = "**" if parameter.kind is inspect.Parameter.VAR_KEYWORD else ""
    text = f"{stars}{parameter.name}: {_plain(parameter.annotation)}"
    if parameter.default is inspect.Parameter.empty:
        return text
    # A path as its text: its repr names the class of this operating system.
    default = str(parameter.default) if isinstance(parameter.default, Path) else parameter.default
    return f"{text} = {default!r}"


def _plain(annotation: Any) -> str:
    """An annotation as it is written in the source."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return re.sub(r"\s+", " ", text)


if __name__ == "__main__":
    print(page(), end="")
