"""Image files -> pixels."""

from __future__ import annotations

import hashlib
import io
import re
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
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                return f"it has {width} x {height} pixels, more than the {MAX_PIXELS:,} allowed"
            picture.load()
            return picture.copy()
    except Image.DecompressionBombError:  # PIL's own limit lies above ours
        return f"it has more pixels than the {MAX_PIXELS:,} allowed"
    except UnidentifiedImageError:  # its own text is the memory address of the bytes
        return "it cannot be decoded (it is no image file)" if data else "it cannot be decoded (the file is empty)"
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        return f"it cannot be decoded ({without_addresses(str(error))})"


def without_addresses(text: str) -> str:
    """The text without memory addresses, which say nothing and differ each time."""
    return re.sub(r"<([\w.]+) object at 0x[0-9a-fA-F]+>|\s*at 0x[0-9a-fA-F]+", lambda found: found[1] or "", text)


_ORIENTATION = 0x0112


def has_orientation(source: Path | bytes) -> bool:
    """Whether an image file, or its bytes, says that it is shown otherwise than its pixels are stored."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes: whether an image can be used is decided where it is decoded
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
                return opened.getexif().get(_ORIENTATION, 1) not in (0, 1)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, KeyError, TypeError):
        return False


def upright(image: Image) -> Image:
    """The image as its EXIF orientation says that it is shown; the same where that says nothing.

    One rule for all images from elsewhere, those that are scored and those of a reference.
    """
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError):  # EXIF that says nothing that can be read
        return image
