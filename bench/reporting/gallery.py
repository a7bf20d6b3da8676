"""A contact sheet: some prompts, a line per method, a column per sample; its noise is the same, if known."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.analysis.table.rows import Row, Table
from bench.reporting.style import FAINT, INK, PAGE_WIDTH, RC, looks, text_colour
from bench.store.atomic import opened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pixels = NDArray[np.uint8]

_PROMPTS, _METHODS, _SAMPLES = 4, 8, 5
_TILE, _GAP = 160, 6  # pixels
_LEFT, _LINE, _BETWEEN, _TOP, _BOTTOM = 0.68, 0.11, 0.1, 0.26, 0.24  # inches


def chosen_prompts(table: Table, count: int = _PROMPTS) -> list[tuple[str, str]]:
    """(id, text) of `count` prompts, evenly spaced over the list, among those of which any method has an image."""
    prompts = [prompt for prompt in table.rows[0].run.prompts if any(_exists(row, prompt[0], 0) for row in table.rows)]
    if len(prompts) <= count:
        return prompts
    return [prompts[round(i * (len(prompts) - 1) / (count - 1))] for i in range(count)]


def gallery_figure(table: Table) -> Figure | None:
    """The contact sheet; None when no run has images at hand. Missing or broken images are grey."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    prompts = chosen_prompts(table)
    if not prompts:
        return None
    rows, samples = table.rows[:_METHODS], min(_SAMPLES, table.rows[0].run.samples)
    across = 2 if len(prompts) > 1 else 1
    down = -(-len(prompts) // across)
    strip = (PAGE_WIDTH - 0.12 - _LEFT - (across - 1) * _BETWEEN) / across
    tile = strip / max(samples, 4)  # few samples do not make huge pictures
    block = tile * len(rows)
    titles = ["\n".join(textwrap.wrap(text, 52, max_lines=2, placeholder=" …")) for _, text in prompts]
    head = 0.1 + _LINE * max(title.count("\n") + 1 for title in titles)
    height = _TOP + down * (block + head) + _BOTTOM
    with mpl.rc_context(RC):
        figure = Figure(figsize=(PAGE_WIDTH, height))
        _furnish(figure, table, len(rows))
        for i, ((prompt_id, _), title) in enumerate(zip(prompts, titles, strict=True)):
            line, column = divmod(i, across)
            left = _LEFT + column * (strip + _BETWEEN)
            top = height - _TOP - line * (block + head) - head
            rectangle = (left / PAGE_WIDTH, (top - block) / height, tile * samples / PAGE_WIDTH, block / height)
            _block(figure, rectangle, sheet(rows, prompt_id, samples))
            figure.text(left / PAGE_WIDTH, (top + 0.04) / height, title, size=6.4, va="bottom", style="italic")
            if column == 0:
                _names(figure, rows, rectangle)
        return figure


def _furnish(figure: Figure, table: Table, shown: int) -> None:
    height = figure.get_size_inches()[1]
    pairing = "same prompt, same noise" if table.same_noise else "same prompt"
    title = f"{textwrap.shorten(table.title, 60, placeholder=' …')}: {pairing}"
    figure.text(_LEFT / PAGE_WIDTH, 1 - 0.15 / height, title, size=8.5, weight="bold", va="center")
    note = "A column has the same noise in all lines: down it, only the method changes; along a line, diversity shows."
    if not table.same_noise:
        note = "Along a line, diversity shows; a column has the same sample number, not always the same noise."
    if shown < len(table.rows):
        note += f" {shown} of {len(table.rows)} methods."
    figure.text(_LEFT / PAGE_WIDTH, 0.1 / height, note, size=6, color=INK, va="center")


def _block(figure: Figure, rectangle: tuple[float, float, float, float], pixels: Pixels) -> None:
    axes = figure.add_axes(rectangle)
    axes.imshow(pixels, interpolation="antialiased", aspect="auto")
    axes.set_axis_off()


def _names(figure: Figure, rows: Sequence[Row], rectangle: tuple[float, float, float, float]) -> None:
    """Method names left of a block, at the height of their lines."""
    style = looks([row.name for row in rows])
    for i, row in enumerate(rows):
        y = rectangle[1] + rectangle[3] * (1 - (i + 0.5) / len(rows))
        name = "\n".join(textwrap.wrap(row.name, 12, max_lines=3, placeholder="…"))
        figure.text(
            rectangle[0] - 0.06 / PAGE_WIDTH,
            y,
            name,
            size=6.6,
            color=text_colour(style[row.name][0]),
            ha="right",
            va="center",
        )


def sheet(rows: Sequence[Row], prompt_id: str, samples: int) -> Pixels:
    """The images of one prompt as one picture, uint8 [H, W, 3], lines = methods and columns = samples, on white."""
    step = _TILE + _GAP
    pixels = np.full((len(rows) * step - _GAP, samples * step - _GAP, 3), 255, dtype=np.uint8)
    for i, row in enumerate(rows):
        for sample in range(samples):
            tile = _tile(row, prompt_id, sample)
            pixels[i * step : i * step + _TILE, sample * step : sample * step + _TILE] = tile
    return pixels


def _exists(row: Row, prompt_id: str, sample: int) -> bool:
    store = row.run.store
    return store is not None and bool(store.image_path(prompt_id, sample).is_file())


def _tile(row: Row, prompt_id: str, sample: int) -> Pixels:
    """One image as a square tile, uint8 [_TILE, _TILE, 3]; grey where there is none that can be read."""
    from PIL import Image, ImageOps

    grey: Any = tuple(int(FAINT[i : i + 2], 16) for i in (1, 3, 5))
    store = row.run.store
    if store is None or not _exists(row, prompt_id, sample):
        return np.full((_TILE, _TILE, 3), grey, dtype=np.uint8)
    try:
        with opened(store.image_path(prompt_id, sample)) as file, Image.open(file) as picture:
            fitted = ImageOps.pad(
                picture.convert("RGB"), (_TILE, _TILE), Image.Resampling.LANCZOS, color=(255, 255, 255)
            )
    except (OSError, ValueError, Image.DecompressionBombError):
        return np.full((_TILE, _TILE, 3), grey, dtype=np.uint8)
    return np.asarray(fitted, dtype=np.uint8)
