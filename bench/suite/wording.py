"""What is wrong with a suite file, in the words of this program: one sentence with its key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from bench.errors import suggest


def sentence(error: ValidationError, keys_beside: Callable[[list[str]], list[str]]) -> str:
    """The first of pydantic's findings in the words of this program: "samples must be at least 1, got 0"."""
    finding = error.errors(include_url=False)[0]
    keys = [str(key) for key in finding["loc"]]
    key, kind, facts = ".".join(keys), finding["type"], finding.get("ctx", {})
    if kind == "missing":
        return f"{key} is missing"
    if kind == "extra_forbidden":
        return f"unknown key '{key}'.{suggest(keys[-1], keys_beside(keys))}"
    if kind == "value_error":
        return f"{key} {facts['error']}" if key else str(facts["error"])
    rules: dict[str, Callable[[], str]] = {
        "greater_than_equal": lambda: f"must be at least {facts['ge']:g}",
        "greater_than": lambda: f"must be above {facts['gt']:g}",
        "less_than_equal": lambda: f"must be at most {facts['le']:g}",
        "less_than": lambda: f"must be below {facts['lt']:g}",
        "multiple_of": lambda: f"must be a multiple of {facts['multiple_of']:g}",
        "int_type": lambda: "must be an integer",
        "float_type": lambda: "must be a number",
        "finite_number": lambda: "must be a finite number",
        "string_type": lambda: "must be a string",
        "string_too_short": lambda: "must not be empty",
        "too_short": lambda: "must not be empty",
        "literal_error": lambda: f"must be {facts['expected']}",
        "dict_type": lambda: "must be a table",
        "model_type": lambda: "must be a table",
        "tuple_type": lambda: "must be a list",
    }
    must = rules[kind]() if kind in rules else finding["msg"]
    return f"{key} {must}, got {_short(finding['input'])}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
