"""Running out of memory is no property of an image: it is never a reason for a value to be missing."""

from __future__ import annotations

from bench.errors import MissingError

# What torch says where it raises no OutOfMemoryError: the allocator of the CPU, the driver, cuBLAS and cuDNN.
_SAYINGS = ("can't allocate memory", "out of memory", "alloc_failed", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the machine or of the device."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SAYINGS)


def too_little_memory(device: str, size: int | None = None) -> MissingError:
    """The error for a metric that memory does not suffice for; `size`: what its weights take."""
    needs = "" if size is None else f" (it needs about {size / 2**30:.1f} GiB)"
    return MissingError(
        f"there is too little memory on '{device}'{needs}: free some and run the command again, which makes what is "
        "missing"
    )
