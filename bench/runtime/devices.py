"""Where torch works: the device by name, the threads (chosen once in the life of the process), the memory used."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from typing import TYPE_CHECKING

from bench.errors import MissingError, UsageError
from bench.runtime.threads import apply_threads

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

# What torch says where it raises no OutOfMemoryError: the allocator of the CPU, the driver, cuBLAS and cuDNN.
_NO_MEMORY = ("can't allocate memory", "out of memory", "alloc_failed", "not enough memory")


def check_device(device: str, here: bool = True) -> None:
    """Raise UsageError for a device name that is none, MissingError for one that is not on this machine.

    With `here` false, other machines do the work, and only the name is checked.
    Torch is loaded only for names other than "cpu" and "auto", which are always fine.
    """
    if device in ("cpu", "auto"):
        return
    import torch

    try:
        kind = torch.device(device)
    except RuntimeError:
        raise UsageError(f"device '{device}' is unknown: use auto, cpu, cuda, cuda:0 or mps") from None
    there = {
        "cpu": True,
        "cuda": (kind.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not (there.get(kind.type, False) if here else kind.type in there):
        raise MissingError(
            f"device '{device}' is not available on this machine: use --device cpu, or auto for the best one"
        )


def prepare_torch(device: str) -> str:
    """The device that `device` means here ("auto": the first of cuda, mps, cpu), with torch's threads chosen.

    Threads are chosen once: later the load of the machine would be this process's own.
    """
    import torch

    check_device(device)
    _set_threads()
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@functools.cache
def _set_threads() -> None:
    logger.info(f"torch uses {apply_threads()}")


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device. From the host to CUDA it is queued, by pinned memory: nobody waits for the device."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def peak_memory() -> int:
    """The most resident memory that this process has used so far, in bytes (0 where the system does not tell).

    Linux hands a parent's peak on to the child that `exec` makes of it in `getrusage`, so that a small command started
    by a large program would report the program's memory; `VmHWM` belongs to this process's own address space.

    >>> peak_memory() >= 0
    True
    """
    with contextlib.suppress(OSError, ValueError, StopIteration):
        with open("/proc/self/status", encoding="utf-8") as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # not on this system
        return 0
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(used if sys.platform == "darwin" else used * 1024)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the machine or of the device."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)


def too_little_memory(device: str, size: int | None = None) -> MissingError:
    """The error for a metric that memory does not suffice for; `size`: what its weights take."""
    needs = "" if size is None else f" (it needs about {size / 2**30:.1f} GiB)"
    return MissingError(
        f"there is too little memory on '{device}'{needs}: free some and run the command again, which makes what is "
        "missing"
    )
