"""Where and with what a run was made: versions, git, machine. Read from metadata, so nothing heavy is imported.

No paths, host or user names are recorded: manifests are published with results.
"""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.runtime.packages import COMPUTING
from bench.runtime.threads import available_cores

PACKAGES = ("imagerefl-bench", *COMPUTING)
_ROOT = Path(__file__).resolve().parents[2]


def collect(device: str = "cpu") -> dict[str, Any]:
    """The provenance of a run on `device` (as text, such as "cpu" or "cuda:0 NVIDIA H100"), as plain JSON data."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": package_versions(),
        "git": git_state(),
        "cpu_count": os.cpu_count(),
        "cpus_available": available_cores(),
        "device": device,
    }


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that matter; those that are not installed are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_state(root: Path = _ROOT) -> dict[str, Any] | None:
    """Commit of the checkout at `root` and whether tracked files were changed; None outside of a checkout."""
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(root), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
