"""TOML text -> data; whatever TOML refuses, and what it allows and no setting can be, is one sentence."""

from __future__ import annotations

import tomllib
from typing import Any

from bench.errors import UsageError

_MOST_BITS = 63


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The data of a TOML document; `where` is its file, for messages.

    Raises UsageError: not TOML (with its line), values nested too deeply, an integer beyond 64 bits.

    >>> parse_toml("samples = 5", "mine.toml")
    {'samples': 5}
    """
    try:
        data = tomllib.loads(text)
        _check_integers(data, where)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not valid TOML: {error}") from None
    except RecursionError:
        raise UsageError(f"{where}: not usable as TOML: its values are nested too deeply") from None
    except ValueError:  # tomllib lets Python's own limit through: a decimal integer of thousands of digits
        raise UsageError(f"{where}: not usable as TOML: it contains an integer of too many digits") from None
    return data


def _check_integers(value: Any, where: str, key: str = "") -> None:
    """UsageError for an integer that TOML's own 64 bits do not hold."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_integers(inner, where, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for inner in value:
            _check_integers(inner, where, key)
    elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise UsageError(f"{where}: {key} is an integer beyond the 64 bits of TOML")
