"""One rule for the full stops of messages: none after a single sentence, one after each of several."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import UsageError, unknown
from metrics.errors import MetricError, punctuated

ROOT = Path(__file__).parents[2]
NEAR_STOP = re.compile(r"\. \{\}|\{\} [A-Z`]")
LEVELS = {"debug", "info", "warning", "error"}


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("the file is damaged.", "the file is damaged"),
        ("the file is damaged", "the file is damaged"),
        ("unknown method 'x'. Did you mean 'y'?", "unknown method 'x'. Did you mean 'y'?"),
        ("unknown method 'x'. Known methods: a, b", "unknown method 'x'. Known methods: a, b."),
        ("stopped at step 3. `bench train` resumes it.", "stopped at step 3. `bench train` resumes it."),
        ("use 1 to 100 of A-Z a-z 0-9 . _ -", "use 1 to 100 of A-Z a-z 0-9 . _ -"),
        ("took 0.5 s, at most 1.5 s.", "took 0.5 s, at most 1.5 s"),
        ("running the original scorers ...", "running the original scorers ..."),
        ("it was cut after 'a b...'", "it was cut after 'a b...'"),
        ("", ""),
    ],
)
def test_full_stops(message: str, shown: str) -> None:
    assert punctuated(message) == shown
    assert punctuated(shown) == shown


def test_errors_are_punctuated_when_they_are_made() -> None:
    assert str(UsageError("a sentence.")) == "a sentence"
    assert str(MetricError("a sentence.")) == "a sentence"
    assert str(unknown("suite", "refk", ["refl"])) == "unknown suite 'refk'. Did you mean 'refl'? Known suites: refl."


def template(node: ast.expr) -> str | None:
    """The text of a literal; what is put in stands as {}."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def messages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The literal texts that are raised or logged."""
    for node in ast.walk(tree):
        given: list[ast.expr] = []
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            given = node.exc.args
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            given = node.args[:1]
        for argument in given:
            if text := template(argument):
                yield argument.lineno, text


@pytest.mark.parametrize("package", ["bench", "metrics", "prompts"])
def test_every_message_in_the_source_is_punctuated(package: str) -> None:
    """Errors are punctuated at run time too; this holds log messages to the rule, and the source to what is shown."""
    found = [
        (path, line, text)
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in messages(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert len(found) > 10
    # What is put in may begin or end a sentence of its own, so a template with {} near its stops is left to run time.
    wrong = [
        f"{path}:{line}: {text}"
        for path, line, text in found
        if not NEAR_STOP.search(text) and punctuated(text) != text
    ]
    assert wrong == []
