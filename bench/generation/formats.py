"""Formats of image files: what the bytes of one are, which may be taken, and as what they become part of a run."""

from __future__ import annotations

import io
import logging
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError
from bench.formatting import counted
from bench.generation.picture_files import count_of, some_of
from bench.store.images import decode, has_orientation, upright

logger = logging.getLogger(__name__)

Key = tuple[str, int]
_LOSSLESS_ENDINGS = frozenset({".png", ".bmp", ".tif", ".tiff"})
_OF_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_HOW = "pass --allow-lossy to take them, which is noted on every value (compression artefacts change scores)"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file's bytes are. `format` is PIL's name, "" where they are no image that can be opened."""

    format: str
    lossy: bool
    animated: bool = False
    turned: bool = False  # whether its EXIF orientation says that it is shown otherwise than stored


def kind_of(data: bytes, ending: str) -> Kind:
    """The kind of a file's bytes; where they cannot be opened, whether its ending is that of a lossy format."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes and palettes: whether an image can be used is decided later
            with Image.open(io.BytesIO(data)) as opened:
                found = opened.format or ""
                compression = str(opened.info.get("compression", ""))
                animated = bool(getattr(opened, "is_animated", False))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, KeyError, TypeError):
        return Kind("", ending.lower() not in _LOSSLESS_ENDINGS)
    return Kind(found, _is_lossy(found, compression, data), animated, has_orientation(data))


def _is_lossy(found: str, compression: str, data: bytes) -> bool:
    if found in ("PNG", "BMP", "DIB", "PPM"):
        return False
    if found == "TIFF":
        return "jpeg" in compression or "webp" in compression
    return found != "WEBP" or _is_lossy_webp(data)


def _is_lossy_webp(data: bytes) -> bool:
    """Whether the first pixels of a WebP file are in a lossy chunk; of an animation, those of its first frame."""
    place = 12
    while place + 8 <= len(data):
        tag, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if tag in (b"VP8 ", b"VP8L"):
            return tag == b"VP8 "
        place += 24 if tag == b"ANMF" else 8 + size + size % 2
    return True


def png_of(data: bytes, kind: Kind) -> bytes:
    """The file that a run keeps: PNG bytes as they are, other formats and turned images as the PNG of their pixels.

    What cannot be decoded stays as it is, and has no values.
    """
    if kind.format in ("PNG", "") and not kind.turned:
        return data
    found = decode(data)
    if isinstance(found, str):
        return data
    image = upright(found)
    if image.mode not in _OF_PNG:
        from metrics.images import to_rgb

        image = to_rgb(image)
    stream = io.BytesIO()
    image.save(stream, "PNG", exif=b"", icc_profile=None)
    return stream.getvalue()


def check_formats(folder: Path, files: Mapping[Key, Path], kinds: Mapping[Key, Kind], allow_lossy: bool) -> None:
    """UsageError for lossy images without leave; says which files are not what their names say, or move."""
    lossy = [files[key] for key, kind in kinds.items() if kind.lossy]
    if lossy and not allow_lossy:
        plain = [path for path in lossy if path.suffix.lower() != ".png"]
        if plain:
            endings = ", ".join(sorted({path.suffix for path in plain}))
            raise UsageError(
                f"{folder} contains {len(plain)} images of these prompts as {endings}, but only .png is read without "
                f"--allow-lossy, because it is lossless: save them as PNG, from the generator's output if possible, or "
                f"{_HOW}"
            )
        kind = next(kind for kind in kinds.values() if kind.lossy)
        raise UsageError(
            f"{lossy[0]} and {len(lossy) - 1} more are called .png, but contain {kind.format} data, which is lossy: "
            f"{_HOW}"
        )
    called = [(files[key], kind.format) for key, kind in kinds.items() if files[key].suffix.lower() == ".png"]
    other = [f"{path.relative_to(folder).as_posix()} is {found}" for path, found in called if found not in ("", "PNG")]
    if other:
        logger.warning(
            f"{folder}: {count_of(other, 'file')} called .png with bytes of another format ({some_of(other)})"
        )
    moving = [files[key].relative_to(folder).as_posix() for key, kind in kinds.items() if kind.animated]
    if moving:
        logger.warning(
            f"{folder}: {counted(len(moving), 'animated image')}, of which the first frame is taken ({some_of(moving)})"
        )


def notes_on(kinds: Mapping[Key, Kind]) -> list[str]:
    """What stands beside every value of these images."""
    total, found = len(kinds), []
    lossy = Counter(kind.format or "unreadable" for kind in kinds.values() if kind.lossy)
    if lossy:
        names = " and ".join(sorted(lossy))
        found.append(
            f"{sum(lossy.values()):,} of {total:,} images are {names} files, lossy: compression artefacts change scores"
        )
    turned = sum(kind.turned for kind in kinds.values())
    if turned:
        found.append(f"{turned:,} of {total:,} images are turned upright by their EXIF orientation")
    moving = sum(kind.animated for kind in kinds.values())
    if moving:
        found.append(f"of {moving:,} of {total:,} images, which are animated, the first frame is scored")
    return found
