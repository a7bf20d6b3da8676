"""A laboratory for faults: commands in forked processes that die, lose their disk or their folders at a chosen moment.

The libraries are imported once; each command runs in a child of this process (`start`). A hook in the child counts the
calls that change a file, and does something at the n-th.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUITE = """
name = "faults"
title = "Faults"
label = "shapes"
prompts = "shapes"
limit = 3
samples = 2
seed = 11
resolution = 64
guidance = 3.0
[model]
family = "sd"
weights = "shapes:pipeline"
[sampler]
scheduler = "DDPMScheduler"
steps = 3
[methods.refl]
weights = "shapes:refl"
tuned_guidance = 1.0
[metrics.pickscore]
weights = "shapes:pickscore"
[metrics.attribute_accuracy]
[metrics.lpips]
weights = "shapes:lpips"
[metrics.fid]
weights = "shapes:inception"
[reference]
kind = "shapes"
count = 20
"""
LIMITS = """
suite = "faults"
[base.pickscore]
min = -100
[refl.lpips]
max_drop = 5
"""
CALLS = ("replace", "rename", "link", "unlink", "write", "open", "fsync")
Hook = Callable[[], None]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def clean(self) -> bool:
        """No traceback, and an exit code of the contract (or killed)."""
        return "Traceback" not in self.err and self.code in (0, 1, 2, 3, 4, 130, -9)


def warm() -> None:
    """Import what the commands import, once."""
    import diffusers  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import plotly  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel  # noqa: F401
    from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer  # noqa: F401

    import bench.cli.app
    import bench.gate.check
    import bench.pipeline.run
    import bench.reporting.report
    import bench.training

    assert bench.cli.app.COMMANDS
    assert all((bench.gate.check, bench.pipeline.run, bench.reporting.report, bench.training))
    torch.set_num_threads(1)


def start(folder: Path, arguments: Sequence[Any], hook: Hook | None = None, tag: str = "0") -> int:
    """Run `bench ARGUMENTS` in a child whose working folder is `folder`; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 97
    try:
        os.setsid()
        os.chdir(folder)
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f".said-{tag}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if hook is not None:
            hook()
        from bench.cli import main

        code = main([str(one) for one in arguments])
        threading._shutdown()  # type: ignore[attr-defined]
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 98
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(folder: Path, pid: int, tag: str = "0", timeout: float = 120.0) -> Done:
    """Wait for a child; one that hangs is killed and has the code 99."""
    end, status = time.monotonic() + timeout, None
    while status is None:
        done, found = os.waitpid(pid, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(found)
        elif time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            status = 99
        else:
            time.sleep(0.01)
    out, err = ((folder / f".said-{tag}.{name}").read_text(errors="replace") for name in ("out", "err"))
    return Done(status, out, err)


def call(folder: Path, *arguments: Any, hook: Hook | None = None) -> Done:
    """Run a command to its end."""
    return wait(folder, start(folder, arguments, hook))


def at_call(number: int, act: Callable[[str, tuple[Any, ...]], None], after: bool = False) -> Hook:
    """A hook that acts before (or after) the `number`-th call that changes a file."""
    lock, count = threading.Lock(), [0]

    def install() -> None:
        for name in CALLS:
            setattr(os, name, wrapped(name, getattr(os, name)))

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def calling(*given: Any, **named: Any) -> Any:
            counts = not (name == "open" and not given[1] & os.O_CREAT) and not (name == "write" and given[0] in (1, 2))
            with lock:
                count[0] += counts
                hit = counts and count[0] == number
            if hit and not after:
                act(name, given)
            found = real(*given, **named)
            if hit and after:
                act(name, given)
            return found

        return calling

    return install


def kill_at(number: int, how: str) -> Hook:
    """Dies of SIGKILL at a call: before it, after it, or when half of the bytes are written."""
    real = os.write

    def act(name: str, given: tuple[Any, ...]) -> None:
        if how == "half" and name == "write":
            real(given[0], bytes(given[1])[: max(1, len(given[1]) // 2)])
        os.kill(os.getpid(), signal.SIGKILL)

    return at_call(number, act, after=how == "after")


def remove_at(number: int, folder: Path) -> Hook:
    """A folder disappears at a call."""
    return at_call(number, lambda name, given: shutil.rmtree(folder, ignore_errors=True))


def refused_at(number: int, error: int) -> Hook:
    """From the `number`-th call that changes a file on, the system refuses new files (no inode left, quota used up)."""
    count = [0]

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def calling(*given: Any, **named: Any) -> Any:
            if real is not opening or given[1] & os.O_CREAT:
                count[0] += 1
                if count[0] >= number:
                    raise OSError(error, os.strerror(error), str(given[0]))
            return real(*given, **named)

        return calling

    opening = os.open

    def install() -> None:
        for name in ("open", "mkdir", "link"):
            setattr(os, name, refusing(getattr(os, name)))

    return install


def without_privileges() -> None:
    """Goes on without root's right to write what may not be written to (CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH)."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice 32 bits
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    sets[0] &= ~0b110
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def short_of_disk(size: int) -> Hook:
    """No file may grow beyond so many bytes."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def numbers(results: Path) -> dict[str, Any]:
    """All that a reader would see of a results folder, to the last bit."""
    from bench.store.run_store import find_runs

    found: dict[str, Any] = {}
    for store in find_runs(results):
        manifest = store.manifest().to_dict()
        left = {key: manifest[key] for key in manifest if key not in ("timings", "provenance", "counts")}
        scores = {
            name: sorted((row.prompt_id or "", row.sample or 0, row.value.hex()) for row in store.scores(name))
            for name in store.score_metrics()
        }
        pictures = {
            path.relative_to(store.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(store.path.rglob("*.png"))
        }
        summary = (store.summary() or {}).get("metrics")
        found[f"{store.suite}/{store.name}"] = (str(left), scores, pictures, str(summary))
    return found


def leftovers(folder: Path) -> list[str]:
    """Temporary files that nobody cleaned."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob(".*.tmp"))
