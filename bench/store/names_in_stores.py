"""The names of the files of a results folder that are kept in an object store, and what they say of a file."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from bench.store.digests import ENDING, digest_in_name
from bench.store.parts import SET_ASIDE

RUNS = "runs"
"""The part of a results folder that is kept in the store; caches and reports stay here."""
CARD = "card.json"


def folder_of(url: str) -> Path:
    """Where the working folder of an address is: in $BENCH_REMOTE, or ~/.cache/imagerefl-bench/remote."""
    root = Path(os.environ.get("BENCH_REMOTE") or Path.home() / ".cache" / "imagerefl-bench" / "remote")
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", url).strip("-.")[-60:]
    return root.expanduser() / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def is_kept(name: str) -> bool:
    """Whether a name is a file of a run, and leads nowhere else."""
    parts = name.split("/")
    return (
        parts[0] == RUNS
        and len(parts) > 3
        and not name.endswith((ENDING, SET_ASIDE))
        and not any(part in ("", "..") or part.startswith(".") or "\\" in part for part in parts)
    )


def is_once(name: str) -> bool:
    """Whether a file is written once and never replaced."""
    return is_picture(name) or name.endswith(".parquet") or digest_in_name(Path(name)) is not None


def is_picture(name: str) -> bool:
    """Whether a file is a picture of a run."""
    return name.endswith(".png")


def is_manifest(name: str) -> bool:
    """Whether a file is the manifest of a run."""
    return name.endswith("/manifest.json")


def folder_of_name(name: str) -> str:
    """The folder in which a file lies."""
    return name.rpartition("/")[0]


def run_of(name: str) -> str:
    """The folder of the run that a file belongs to."""
    return "/".join(name.split("/")[:3])


def is_card(name: str) -> bool:
    """Whether a file is the card of values."""
    return name.endswith(f"/{CARD}")
