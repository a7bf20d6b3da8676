"""Which prompts' images are scored together: a function of the run alone, whatever is still to do and whoever does it.

So an image has the same neighbours in its batch after an interruption and in another process, and its value is the same
to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.scoring.missing import Target
from bench.store.images import image_size
from bench.store.records import Manifest

CHUNK = 64
"""Images that are scored at a time, fewer where they are large, or one prompt's where those are more."""
CHUNK_BYTES = 256 << 20
"""Of decoded pixels in a chunk; the next one is decoded meanwhile."""


def chunks_of(prompts: Iterable[tuple[str, int, int]]) -> list[list[str]]:
    """Prompts (id, number of images, their bytes when decoded), as many at a time as keep to the two limits."""
    found: list[list[str]] = []
    images = size = 0
    for prompt_id, count, more in prompts:
        if not found or images + count > CHUNK or size + more > CHUNK_BYTES:
            found.append([])
            images = size = 0
        found[-1].append(prompt_id)
        images, size = images + count, size + more
    return found


def chunks(target: Target) -> list[list[str]]:
    """The chunks of a run's images as they are on the disk."""
    folder = target.store.path
    return chunks_of(
        (prompt_id, len(rows), sum(_decoded_bytes(folder / row.path) for row in rows))
        for prompt_id, rows in target.images.items()
    )


def planned_chunks(manifest: Manifest, resolution: int) -> list[list[str]]:
    """The chunks of a run when all of its images (RGB, `resolution` squared) are there."""
    size = 3 * resolution**2
    return chunks_of((str(prompt["id"]), manifest.samples, manifest.samples * size) for prompt in manifest.prompts)


def _decoded_bytes(path: Path) -> int:
    """What an image takes when it is decoded, by its head; an unreadable one takes nothing."""
    size = image_size(path)
    return 0 if size is None else 3 * size[0] * size[1]
