"""What a manifest must be before anything in it is believed: its types, its names, and the run that it is of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import UsageError, suggest
from bench.store.records import Manifest

_ADVICE = "restore it from a copy, or delete it and run the same command again, which keeps the images"


def validated(data: Mapping[str, Any], path: Path, folder: Path, name: str) -> Manifest:
    """The manifest in `data`, of the run `name` in `folder`. Raises UsageError: a sentence that begins with `path`."""
    manifest = _typed(data, path)
    if manifest.run != name:
        raise UsageError(f"{path} is of run {manifest.run}, but lies in the folder of {name}: remove that folder")
    suite = folder.absolute().parent
    if suite.parent.name == "runs" and manifest.suite != suite.name:
        raise UsageError(f"{path} is of suite {manifest.suite}, but lies in the folder of {suite.name}: move it there")
    identity = manifest.identity
    made_here = "sampling_version" in identity or len(str(identity.get("external", ""))) == 64
    expected = _hash8(manifest.identity, path) if made_here else None
    if expected is not None and manifest.run.rpartition("@")[2] != expected:
        raise UsageError(f"{path} is damaged: its identity has the hash {expected}, and its name another; {_ADVICE}")
    return manifest


def _hash8(identity: Mapping[str, Any], path: Path) -> str:
    from bench.suite.plan import hash8

    try:
        return hash8(identity)
    except (ValueError, TypeError, RecursionError):
        raise UsageError(f"{path} is damaged: its identity has values that no run has; {_ADVICE}") from None


def _typed(data: Mapping[str, Any], path: Path) -> Manifest:
    from pydantic import ValidationError

    try:
        manifest: Manifest = _adapter().validate_python(dict(data))
    except ValidationError as error:
        raise UsageError(_sentence(error, path)) from None
    except RecursionError:
        raise UsageError(f"{path} is damaged (nested too deeply): {_ADVICE}") from None
    return manifest


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Manifest)


def _sentence(error: Any, path: Path) -> str:
    """The first finding: what it lacks, what nobody knows, or what has another type."""
    findings = error.errors(include_url=False)
    absent = [str(one["loc"][-1]) for one in findings if one["type"] == "missing"]
    if absent:
        return f"{path} is not a manifest of bench: it lacks {', '.join(absent)}"
    finding = findings[0]
    key = ".".join(str(part) for part in finding["loc"])
    if finding["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        hint = suggest(str(finding["loc"][-1]), Manifest.__dataclass_fields__)
        return f"{path} has an unknown key '{key}' (of a newer version?).{hint}"
    shown = repr(finding["input"])
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    said = str(finding["msg"]).removeprefix("Value error, ")
    return f"{path} is damaged: {key}: {said[:1].lower()}{said[1:]}, got {shown}; {_ADVICE}"
