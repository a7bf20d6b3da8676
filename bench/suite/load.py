"""Suite files and ready suites -> a validated `Suite`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import UsageError, unknown
from bench.runtime.toml_text import parse_toml
from bench.suite.schema import NO_MODEL, Suite, _validated, check_metrics
from bench.suite.served import ENDPOINT
from prompts.forms import ENDINGS as _PROMPT_ENDINGS

_FOLDER = Path(__file__).parent / "ready"


def suite_names() -> list[str]:
    """Names of the suites that are shipped, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_suite(name_or_path: str | Path) -> Suite:
    """A shipped suite by name, or one from a TOML file.

    In a file, `prompts`, `weights` and `path` may be relative to the folder of the file. Raises UsageError: unknown
    suite (did you mean ...?), unreadable file, or a wrong value, with the file and the key.
    """
    text = str(name_or_path)
    path = Path(text).expanduser()
    if text in suite_names():
        path = _FOLDER / f"{text}.toml"
        where = f"bench/suite/ready/{text}.toml"
    elif path.suffix == ".toml" or len(path.parts) > 1:
        where = text
    else:
        raise unknown("suite", text, suite_names())
    data = _read(path, where)
    data.setdefault("name", path.stem)
    suite = _validated(_beside(data, path.parent), f"{where}: ")
    _check_names(suite, where)
    return suite


def check_model(suite: Suite) -> None:
    """UsageError for a suite that has no model, and so neither makes images nor trains."""
    if suite.model.family == NO_MODEL:
        raise UsageError(
            f"suite '{suite.name}' has no model: it scores images from elsewhere, with "
            f"`bench score --images DIR --suite {suite.name}`"
        )


def check_local(suite: Suite) -> None:
    """UsageError for a suite whose model is not loaded here: it makes images, and cannot be trained or looked into."""
    check_model(suite)
    if suite.model.endpoint is not None:
        raise UsageError(
            f"suite '{suite.name}' has an endpoint, which gives images only: use a suite with the model's weights"
        )


def suite_from(data: Mapping[str, Any], where: str) -> Suite:
    """The suite in plain data, such as a manifest's. Raises UsageError that begins with `where`."""
    return _validated(dict(data), where)


def _check_names(suite: Suite, where: str) -> None:
    """What a suite file names must exist: a wrong method would silently do nothing, a wrong family be told too late."""
    from bench.methods.catalogue import method_names
    from bench.registry.families import FAMILIES

    known = method_names()
    try:
        if suite.model.family not in (*FAMILIES.names(), NO_MODEL, ENDPOINT):
            raise unknown("model family", suite.model.family, FAMILIES.names())
        check_metrics(suite.metrics)
        for name, method in suite.methods.items():
            if (method.like or name) not in known:
                raise unknown("method", method.like or name, known)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _read(path: Path, where: str) -> dict[str, Any]:
    if path.exists() and not path.is_dir() and not path.is_file():
        raise UsageError(f"{where} is not a regular file, as a suite file must be")
    try:
        return parse_toml(path.read_text(encoding="utf-8-sig"), where)
    except FileNotFoundError:
        raise UsageError(f"suite file {where} does not exist") from None
    except IsADirectoryError:
        raise UsageError(f"{where} is a folder, not a suite file") from None
    except OSError as error:
        raise UsageError(f"suite file {where} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: not valid TOML: {error}; save it as UTF-8") from None
    except ValueError:
        raise UsageError(f"suite file {str(path)!r} has a NUL in its name, which no file has") from None


def _beside(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The data with paths that exist beside the suite file written relative to where the program runs."""

    def walk(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: walk(inner, "weights" if key == "embeddings" else name) for name, inner in value.items()}
        if key == "replicates" and isinstance(value, list):
            return [walk(one, "weights") for one in value]
        if key not in ("prompts", "weights", "path") or not isinstance(value, str) or not value:
            return value
        is_path = key != "prompts" or Path(value).suffix in _PROMPT_ENDINGS or len(Path(value).parts) > 1
        return str(folder / value) if is_path and ":" not in value and (folder / value).exists() else value

    result: dict[str, Any] = walk(data)
    return result
