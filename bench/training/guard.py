"""A training's place on disk: one process at a time, and nothing is deleted that `bench train` did not make."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.store.atomic import make_folder, write_error
from bench.training import checkpoint
from bench.training.recipes import TrainRecipe

_LOGS = re.compile(r"log\.csv|state\.pt(?:\.sha256)?|\.lock|events\.out\.tfevents\..*|\..*\.tmp")
_SAMPLES = re.compile(r"step-\d+\.png|\..*\.tmp")
_WEIGHTS = re.compile(
    r"training\.json(?:\.sha256)?|config\.json|adapter_config\.json|README\.md"
    r"|(diffusion_pytorch_model|adapter_model|pytorch_lora_weights).*\.safetensors(\.index\.json)?"
)


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold the place of a training into `out`. Raises UsageError at once if another process holds it.

    Of several processes of one training the first holds it for all.
    """
    if int(os.environ.get("RANK", "0") or 0):
        yield
        return
    from filelock import FileLock, Timeout

    folder = make_folder(checkpoint.log_folder(out))
    lock = FileLock(folder / ".lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"another process is training into {out}: wait until it has finished, or pass another --out"
        ) from None
    except OSError as error:
        raise write_error(folder, error) from None
    try:
        yield
    finally:
        lock.release()
        if [path.name for path in folder.iterdir()] == [".lock"]:  # nothing was begun: leave nothing behind
            with contextlib.suppress(OSError):
                (folder / ".lock").unlink()
                folder.rmdir()


def checkpoints_of(recipe: TrainRecipe, eval_every: int | None) -> list[int]:
    """The updates after which a checkpoint OUT-stepN is written; the last update's is OUT."""
    wanted = {*range(recipe.save_every, recipe.steps, recipe.save_every)}
    if eval_every is not None:
        wanted |= {*range(eval_every, recipe.steps, eval_every)}
    return sorted(wanted)


def check_place(out: Path, steps: list[int]) -> None:
    """UsageError if something that `bench train` did not make is where a training into `out` will write or delete.

    `steps`: the updates after which there will be a checkpoint OUT-stepN. Nothing is written or removed.
    """
    _check_logs(checkpoint.log_folder(out))
    _check_checkpoint(out, None)
    for step in steps:
        _check_checkpoint(checkpoint.step_folder(out, step), step)


def _check_checkpoint(folder: Path, step: int | None) -> None:
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or folder.is_symlink():
        raise _foreign(folder, "it is not a folder")
    inside = sorted(path.name for path in folder.iterdir())
    if not inside:
        return
    facts: Any = checkpoint.read_facts(folder)
    if not isinstance(facts, dict) or not {"objective", "recipe"} <= facts.keys():
        raise _foreign(folder, f"it has no {checkpoint.FACTS} of a training")
    if facts.get("step") != step and step is not None:
        raise _foreign(folder, f"its {checkpoint.FACTS} is not of a checkpoint after {step} updates")
    if others := [name for name in inside if not _WEIGHTS.fullmatch(name)]:
        raise _foreign(folder, f"it also contains {', '.join(others[:3])}")


def _check_logs(folder: Path) -> None:
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise _foreign(folder, "it is not a folder")
    others = [
        path.name for path in sorted(folder.iterdir()) if path.name != "samples" and not _LOGS.fullmatch(path.name)
    ]
    samples = folder / "samples"
    if samples.is_dir():
        others += [f"samples/{path.name}" for path in sorted(samples.iterdir()) if not _SAMPLES.fullmatch(path.name)]
    if others:
        raise _foreign(folder, f"it contains {', '.join(others[:3])}")
    table = folder / "log.csv"
    if table.is_file():
        with table.open("rb") as file:
            known = file.read(10) == b"step,loss,"
        if not known:
            raise _foreign(folder, "its log.csv is not of a training")
    elif (folder / "state.pt").exists():
        raise _foreign(folder, "it contains a state.pt without a log.csv")


def _foreign(folder: Path, why: str) -> UsageError:
    return UsageError(
        f"{folder} was not made by `bench train` alone ({why}) and would be replaced: move it, or pass another --out."
    )
