"""The interpreter that runs the originals: an environment of its own, made once under a cache folder and kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench.errors import MissingError
from bench.store.atomic import make_folder

logger = logging.getLogger(__name__)

VARIABLE = "BENCH_OFFICIAL_PYTHON"
REQUIREMENTS = Path(__file__).with_name("official.txt")
SCRIPT = Path(__file__).with_name("official.py")
_VERSION = (3, 11)
_PROBE = "import sys; sys.exit(sys.version_info[:2] != (3, 11))"


def default_cache() -> Path:
    """Where environments are kept: $XDG_CACHE_HOME/imagerefl-bench, or below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "imagerefl-bench"


def find_python(given: str | None, cache: Path | None = None) -> Path:
    """The originals' interpreter: the given one, that of $BENCH_OFFICIAL_PYTHON, or the cached environment's.

    `given` is an interpreter or the folder of an environment. MissingError (exit code 4) if there is none and none can
    be made.
    """
    named = given or os.environ.get(VARIABLE)
    if named is None:
        return make(cache or default_cache())
    path = Path(named).expanduser()
    path = path / "bin" / "python" if path.is_dir() else path
    if not path.is_file():
        raise MissingError(f"the originals' interpreter '{path}' does not exist: omit it to let bench create one")
    return path


def make(cache: Path) -> Path:
    """The environment of official.txt below `cache`, made where it is not complete. MissingError if that fails."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:8]
    folder = make_folder(cache) / f"official-{digest}"
    python, done = folder / "bin" / "python", folder / ".complete"
    with FileLock(cache / f"official-{digest}.lock"):
        if done.is_file() and python.is_file():
            return python
        base = _base_python()
        shutil.rmtree(folder, ignore_errors=True)
        logger.info(f"making the environment of the original scorers in {folder} (once; several GB with PyTorch) ...")
        _step([base, "-m", "venv", str(folder)], "install the venv module of that Python (apt install python3.11-venv)")
        install = [str(python), "-m", "pip", "install", "--quiet", "--progress-bar", "off", "-r", str(REQUIREMENTS)]
        _step(install, "run it where there is a package index, then name the interpreter with --official")
        done.write_text(digest + "\n", encoding="utf-8")
    return python


def _base_python() -> str:
    for name in (sys.executable, shutil.which("python3.11")):
        if name and subprocess.run([name, "-c", _PROBE], capture_output=True, check=False).returncode == 0:
            return name
    raise MissingError(
        "the original scorers need Python 3.11, which was not found: install it (so that `python3.11` is on the PATH), "
        "or name an environment that has them: bench doctor --verify-metrics --official /path/to/python"
    )


def _step(command: Sequence[str], advice: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")] or lines
        why = " ".join((errors or ["no message"])[-1].split())[:200]
        raise MissingError(
            f"the environment of the original scorers cannot be made: `{' '.join(command)}` failed ({why}): {advice}"
        )


def run_official(python: Path, fixture: Path, only: Sequence[str]) -> dict[str, Any]:
    """The originals' values on a fixture: {"fixture", "seed", "versions", "values": {scorer: [...]}}.

    MissingError where the interpreter lacks a package or ends without a result.
    """
    out = fixture / "official.json"
    out.unlink(missing_ok=True)
    command = [str(python), str(SCRIPT), str(fixture), str(out), "--only", ",".join(only)]
    quiet = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV"))}
    done = subprocess.run(
        command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, env=quiet, check=False
    )
    if done.returncode or not out.is_file():
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise MissingError(
            f"the original scorers did not run ({' '.join(lines[-1].split())[:200]}): to see all of it, run "
            f"`{' '.join(command)}`"
        )
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found
