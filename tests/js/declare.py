"""What the page's scripts work on as TypeScript, which check.py writes to tests/js/page.d.ts.

Two things are known elsewhere and only translated here: the shape of the data (bench/reporting/payload_types.py), and
the elements of the page (its templates in bench/reporting/assets).
"""

from __future__ import annotations

import re
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from bench.reporting import payload_types

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "bench" / "reporting" / "assets").rglob("*.html.j2"))
STUDY = [ROOT / "bench" / "study" / "assets" / "rater_body.html.j2"]
PLAIN = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
HEAD = "// Written by tests/js/check.py from bench/reporting/payload_types.py and the templates.\n"


def typescript(hint: Any) -> str:
    """A Python type as TypeScript. KeyError for one that JSON has no form for."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_typeddict(hint):
        return f"Payload.{hint.__name__}"
    if origin is Literal:
        return " | ".join(f'"{value}"' for value in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(map(typescript, arguments)))
    if origin is list:
        (inner,) = map(typescript, arguments)
        return f"({inner})[]" if " | " in inner else f"{inner}[]"
    if origin is tuple:
        return f"[{', '.join(map(typescript, arguments))}]"
    if origin is dict:
        key, value = map(typescript, arguments)
        return f"Record<{key}, {value}>"
    return PLAIN[hint]


def payload() -> list[str]:
    """The namespace `Payload`, with one interface per TypedDict."""
    lines = ["declare namespace Payload {"]
    for name, made in vars(payload_types).items():
        if is_typeddict(made) and made is not Any:
            lines.append(f"  interface {name} {{")
            lines += [f"    {key}: {typescript(hint)};" for key, hint in get_type_hints(made).items()]
            lines.append("  }")
    return [*lines, "}"]


def elements(name: str, templates: Sequence[Path]) -> list[str]:
    """The ids of a page's elements, with their tags, as an interface."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in templates)
    ids = sorted((name, tag) for tag, name in re.findall(r'<(\w+)(?=[^>]*?\bid="([\w-]+)")', text))
    return [f"interface {name} {{", *(f'  "{one}": HTMLElementTagNameMap["{tag}"];' for one, tag in ids), "}"]


def document() -> str:
    """The whole file."""
    return (
        HEAD
        + "\n".join([*payload(), "", *elements("PageElements", TEMPLATES), *elements("StudyElements", STUDY)])
        + "\n"
    )
