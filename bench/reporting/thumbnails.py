"""The images of the gallery: inside the page while they are few, else thumbnails and files beside it.

Few: every original goes into the page. Many: the prompts that changed most, and some spread over the list, get
thumbnails and their originals in `index_files/`; the images of all other prompts are shown from the results folder
when the page lies in it.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from bench.analysis.table.arrays import prompts_of
from bench.reporting.payload_types import Images
from bench.runtime.threads import available_cores
from bench.store.atomic import opened, read_bytes

if TYPE_CHECKING:
    from bench.analysis.table.rows import Table

FOLDER = "index_files"
IN_PAGE_BYTES = 12_000_000
"""Originals of no more than this together go into the page."""
IN_PAGE_THUMBNAILS = 800
MOST_IMAGES = 3_000
"""Images of the prompts that get thumbnails and files beside the page."""
THUMBNAIL = 192  # pixels of the longer side

Present = NDArray[np.bool_]
Key = tuple[int, int, int]  # method, prompt, sample


@dataclass
class Pictures:
    """What the page needs: `info` for its script, `embedded` data URIs by "method/prompt/sample", files beside it."""

    info: Images
    embedded: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes | Path] = field(default_factory=dict)  # below FOLDER -> content, or a file to link or copy


def pictures(table: Table, out: Path, order: NDArray[np.int64], most_prompts: int | None = None) -> Pictures:
    """Choose and read the images of a table for a page in the folder `out`; `order` has the prompts to show first.

    `most_prompts` limits the prompts with images (None: as many as `MOST_IMAGES` allows; 0: no gallery).
    """
    there = present(table)
    if not there.any() or most_prompts == 0:
        return Pictures({"mode": "none"})
    bits = base64.b64encode(np.packbits(there.reshape(-1)).tobytes()).decode()
    if most_prompts is None and _fits(table, there):
        return Pictures({"mode": "page", "present": bits}, _originals(table, there))
    chosen = _chosen(order, len(table.rows) * there.shape[2], most_prompts)
    keys = [key for key in _keys(there) if key[1] in chosen]
    thumbs = _thumbnails(table, keys)
    keys = [key for key in keys if key in thumbs]
    in_page = len(keys) <= IN_PAGE_THUMBNAILS
    made = Pictures(
        {
            "mode": "files",
            "present": bits,
            "thumbs": "page" if in_page else "files",
            "prompts": sorted(chosen),
            "folders": [f"{FOLDER}/{quote(_folder(table, i), safe='@')}/" for i in range(len(table.rows))],
            "origins": [_origin(row.run.path, out) for row in table.rows],
        }
    )
    for key in keys:
        source = _path(table, key)
        made.files[_name(table, key, source.suffix)] = source
        if in_page:
            made.embedded["/".join(map(str, key))] = _uri("webp", thumbs[key])
        else:
            made.files[_name(table, key, ".webp")] = thumbs[key]
    return made


def present(table: Table) -> Present:
    """Which images there are, bool [methods, prompts, samples]."""
    prompts, samples = prompts_of(table), table.rows[0].run.samples
    there = np.zeros((len(table.rows), len(prompts), samples), dtype=np.bool_)
    for i, row in enumerate(table.rows):
        if row.run.store is None:
            continue
        for j, (prompt_id, _) in enumerate(prompts):
            folder = row.run.store.image_path(prompt_id, 0).parent
            try:
                names = {entry.name for entry in os.scandir(folder)}
            except OSError:
                continue
            there[i, j] = [f"{sample}.png" in names for sample in range(samples)]
    return there


def _path(table: Table, key: Key) -> Path:
    store = table.rows[key[0]].run.store
    assert store is not None  # `present` has said so
    return store.image_path(prompts_of(table)[key[1]][0], key[2])


def _folder(table: Table, row: int) -> str:
    """The run's name, with a number where runs of several folders have one name."""
    names = [row.run.name for row in table.rows]
    earlier = names[:row].count(names[row])
    return f"{names[row]}-{earlier + 1}" if earlier else names[row]


def _name(table: Table, key: Key, ending: str) -> str:
    return f"{_folder(table, key[0])}/{prompts_of(table)[key[1]][0]}/{key[2]}{ending}"


def _keys(there: Present) -> Iterator[Key]:
    yield from map(tuple, np.argwhere(there).tolist())


def _fits(table: Table, there: Present) -> bool:
    total = 0
    for key in _keys(there):
        try:
            total += _path(table, key).stat().st_size
        except OSError:
            continue
        if total > IN_PAGE_BYTES:
            return False
    return True


def _originals(table: Table, there: Present) -> dict[str, str]:
    """Originals as data URIs; broken files are left out, and marked as absent in `there`'s place by their absence."""
    from PIL import Image

    found = {}
    for key in _keys(there):
        try:
            data = read_bytes(_path(table, key))
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
        found["/".join(map(str, key))] = _uri("png", data)
    return found


def _chosen(order: NDArray[np.int64], images_per_prompt: int, most: int | None) -> set[int]:
    """Two thirds of the prompts that changed most, the others evenly from the list."""
    count = max(1, MOST_IMAGES // images_per_prompt) if most is None else most
    if count >= len(order):
        return set(order.tolist())
    top = [int(one) for one in order[: -(-count * 2 // 3)]]
    rest = sorted(set(order.tolist()) - set(top))
    wanted = count - len(top)
    return {*top, *(rest[i * len(rest) // wanted] for i in range(wanted))}


def _thumbnails(table: Table, keys: Sequence[Key]) -> dict[Key, bytes]:
    with ThreadPoolExecutor(max_workers=available_cores()) as pool:
        made = pool.map(_thumbnail, [_path(table, key) for key in keys], chunksize=16)
        return {key: data for key, data in zip(keys, made, strict=True) if data is not None}


def _thumbnail(path: Path) -> bytes | None:
    """A WebP of at most `THUMBNAIL` pixels a side; None for a file that cannot be read."""
    from PIL import Image

    out = io.BytesIO()
    try:
        with opened(path) as file, Image.open(file) as picture:
            image = picture.convert("RGB")
            image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BICUBIC, reducing_gap=2.0)
            image.save(out, "webp", quality=82, method=2)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return out.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _origin(run: Path, out: Path) -> str | None:
    """The run's images as seen from the page, when both lie in one results folder; else None (no foreign paths)."""
    results = run.resolve().parent.parent.parent  # <results>/runs/<suite>/<run>
    if run.resolve().parent.parent.name != "runs" or not out.resolve().is_relative_to(results):
        return None
    return quote(Path(os.path.relpath(run.resolve(), out.resolve())).as_posix(), safe="/@") + "/images/"
