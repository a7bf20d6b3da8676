"""Image files -> pixels."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from bench.store.atomic import image_fault, opened, read_bytes
from metrics.images import MAX_PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image


def read_image(path: Path, sha256: str) -> Image | str:
    """The image in a file whose bytes have this digest, or a clause that says why it cannot be used."""
    try:
        data = read_bytes(path)
    except OSError:
        data = b""
    if hashlib.sha256(data).hexdigest() != sha256:
        return image_fault(path, sha256) or "it changed while it was read"
    return decode(data)


def image_size(path: Path) -> tuple[int, int] | None:
    """Width and height by the head of a file; None where it has none."""
    from PIL import Image

    try:
        with opened(path) as file, Image.open(file) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None


def decode(data: bytes) -> Image | str:
    """The image in these bytes, in its own mode, or a clause that says why it cannot be decoded."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                return f"it has {width} x {height} pixels, more than the {MAX_PIXELS:,} allowed"
            picture.load()
            return picture.copy()
    except Image.DecompressionBombError:  # PIL's own limit lies above ours
        return f"it has more pixels than the {MAX_PIXELS:,} allowed"
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        return f"it cannot be decoded ({error})"
