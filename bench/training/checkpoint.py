"""What a training leaves on disk, whole or not at all.

    OUT/                     the checkpoint: weights as the loader reads them, training.json (how it was made)
    OUT-step50/              the same after 50 updates
    OUT.log/state.pt         where a killed training goes on: weights, optimiser, average, schedule; its digest behind
    OUT.log/log.csv          one row an update;  events.out.tfevents.* (TensorBoard);  samples/step-000050.png

A checkpoint is written under another name and put in place by renaming; the state follows it, so a kill between the
two costs the updates since the state before, which are made again and come out the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch

from bench.errors import BenchError, MissingError, UsageError
from bench.store.atomic import opened, read_bytes, sync_folder
from bench.store.digests import announce, beside, state_of, state_of_digest, write_protected
from bench.training.network import Trainable

logger = logging.getLogger(__name__)

FACTS = "training.json"
STATE_VERSION = 3
_UNSIGNED = 2
"""States of this version have no digest; they are read, and that they are not verified is said."""
_SIGNATURE = b"bench-training-state-sha256:"


def log_folder(out: Path) -> Path:
    """Where the logs and the state of a training into `out` are."""
    return out.with_name(f"{out.name}.log")


def state_path(out: Path) -> Path:
    """Where an unfinished training into `out` goes on."""
    return log_folder(out) / "state.pt"


def step_folder(out: Path, step: int) -> Path:
    """The checkpoint after `step` updates."""
    return out.with_name(f"{out.name}-step{step}")


def save_checkpoint(trainable: Trainable, out: Path, facts: Mapping[str, Any]) -> None:
    """Write a checkpoint whole; an older one of that name is kept until the new one is complete.

    Raises MissingError (one sentence) when the disk refuses; what was there before is intact then.
    """
    partial, old = out.with_name(f".{out.name}.tmp"), out.with_name(f".{out.name}.old.tmp")
    with _whole(out, partial):
        shutil.rmtree(partial, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        trainable.write(partial)
        write_protected(partial / FACTS, json.dumps(facts, indent=2) + "\n")
        for path in partial.iterdir():
            _flush(path)
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            out.rename(old)
        partial.rename(out)
        sync_folder(out.parent)
        shutil.rmtree(old, ignore_errors=True)


def recover(out: Path) -> None:
    """Put back a checkpoint that a kill caught between being replaced and its successor's renaming."""
    old = out.with_name(f".{out.name}.old.tmp")
    if old.is_dir() and not out.exists():
        old.rename(out)


def read_facts(folder: Path) -> Any:
    """training.json of a checkpoint; None if there is none that can be read and believed."""
    path = folder / FACTS
    try:
        data = read_bytes(path)
        if state_of(path, data) == "damaged":
            logger.warning(f"{path} is damaged or was edited (its sha256 is not the one in {path.name}.sha256)")
            return None
        return json.loads(data.decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a training whole. Raises MissingError when the disk refuses; the older state is intact."""
    partial = path.with_name(f".{path.name}.tmp")
    with _whole(path, partial):
        path.parent.mkdir(parents=True, exist_ok=True)
        announce(path, _write_tensors(partial, {"version": STATE_VERSION, **state}))
        os.replace(partial, path)
        sync_folder(path.parent)


def remove_state(out: Path) -> None:
    """Remove the state of a finished training, and its digest behind it."""
    state_path(out).unlink(missing_ok=True)
    beside(state_path(out)).unlink(missing_ok=True)


def load_state(path: Path) -> dict[str, Any] | None:
    """The state of an unfinished training, None if there is none. Raises UsageError if it is damaged."""
    if not path.exists():
        return None
    advice = "pass --resume never to restart, or another --out"
    damaged = UsageError(f"{path} is damaged, and the training cannot be resumed from it: {advice}")
    try:
        signed = _signed(path)
        if signed is False:
            raise damaged
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UsageError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file
        raise damaged from error
    version = state.get("version") if isinstance(state, dict) else None
    if version != (STATE_VERSION if signed else _UNSIGNED):
        if version == STATE_VERSION:
            raise damaged  # its digest is gone
        raise UsageError(f"{path} was written by another version of this program: {advice}")
    if not signed:
        logger.warning(f"{path} was written by an earlier version without a digest; it cannot be verified")
    return dict(state)


def _signed(path: Path) -> bool | None:
    """Whether the digest behind a state is that of what comes before it; None if there is no digest."""
    length = len(_SIGNATURE) + 64
    whole = hashlib.sha256()
    with opened(path) as file:
        left = path.stat().st_size - length
        if left < 0:
            return None
        while left and (part := file.read(min(left, 1 << 24))):
            whole.update(part)
            left -= len(part)
        end = file.read()
    expected = _SIGNATURE + whole.hexdigest().encode()
    whole.update(end)
    if state_of_digest(path, whole.hexdigest()) == "damaged":
        return False
    return end == expected if end.startswith(_SIGNATURE) else None


def _write_tensors(path: Path, state: Mapping[str, Any]) -> str:
    """`torch.save` with the system's own error: torch hides a full disk behind one about its archive.

    Returns the sha256 of the file.
    """
    with path.open("wb") as file:
        disk = _Disk(file)
        try:
            torch.save(dict(state), cast(IO[bytes], disk))
        except RuntimeError as error:
            raise disk.refused or error from error
        # Behind the archive, which its readers find all the same: a digest inside would not cover all of it.
        disk.write(_SIGNATURE + disk.digest.hexdigest().encode())
        file.flush()
        os.fsync(file.fileno())
    return disk.digest.hexdigest()


class _Disk:
    """A file that is only appended to: it keeps the digest of what was written, and remembers why a write failed."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.refused: OSError | None = None

    def write(self, data: Any) -> int:
        self.digest.update(data)
        try:
            return int(self._file.write(data))
        except OSError as error:
            self.refused = error
            raise

    def flush(self) -> None:
        self._file.flush()


@contextlib.contextmanager
def _whole(target: Path, partial: Path) -> Iterator[None]:
    """Remove what was half written, and say in one sentence why."""
    try:
        yield
    except BenchError:
        raise
    except Exception as error:  # safetensors wraps the system's refusal in an error of its own
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
        hidden = re.search(r"(?:I/O error: )?(.*) \(os error \d+\)", str(error))
        if not isinstance(error, OSError) and hidden is None:
            raise
        why = error.strerror if isinstance(error, OSError) else hidden and hidden[1].rpartition(": ")[2]
        raise MissingError(
            f"{target} cannot be written ({why}): free space or pass another --out; what was saved before is kept, "
            "and the same command resumes from it"
        ) from error


def _flush(path: Path) -> None:
    """To the disk itself: a rename must not become durable before the bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
