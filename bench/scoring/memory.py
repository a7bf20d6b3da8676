"""Running out of memory is no property of an image: it is never a reason for a value to be missing."""

from __future__ import annotations

from bench.errors import MissingError


def too_little_memory(device: str, size: int | None = None) -> MissingError:
    """The error for a metric that memory does not suffice for; `size`: what its weights take."""
    needs = "" if size is None else f" (it needs about {size / 2**30:.1f} GiB)"
    return MissingError(
        f"there is too little memory on '{device}'{needs}: free some and run the command again, which makes what is "
        "missing"
    )
