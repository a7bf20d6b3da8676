"""How figures look: sizes of a paper's page, a palette that colour-blind readers can tell apart, fixed output bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence, Set
from functools import cache
from typing import IO, TYPE_CHECKING, Any

from bench.analysis.table.rows import family
from bench.methods.catalogue import find_method, method_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE_WIDTH = 7.0  # inches: two columns of a paper
INK, FAINT, GRID = "#222222", "#8a8a8a", "#e4e4e4"

_SPARE_COLOURS = ("#56b4e9", "#e69f00", "#cc79a7", "#7a5195", "#8c6d31", "#555555")
_SPARE_MARKERS = ("<", ">", "d", "8", "*", "H", "p", "P", "X", "h", "v")
_CONTRAST = 4.5  # of text on white, WCAG 2.2 level AA

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "text.parse_math": False,  # names and prompts are untrusted: "$" is a dollar
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "ps.fonttype": 42,
    "svg.hashsalt": "imagerefl-bench",
    "svg.fonttype": "path",
    "figure.dpi": 100,
    "savefig.dpi": 220,
}


Look = tuple[str, str]  # colour "#rrggbb", matplotlib's marker


def looks(names: Sequence[str]) -> dict[str, Look]:
    """Name -> look. Methods of one sweep look alike; rows of the catalogue have a look, or a part of one, of their own.

    What a row leaves open, and all of a method that has no row here, is found from the name: the same method looks the
    same in every report, unless another one has taken that look, and then it takes the next that is free.
    """
    families = dict.fromkeys(family(name) for name in names)
    rows = {name: find_method(name) for name in {*families, *method_names()}}
    given = {name: (row.colour, row.marker) for name, row in rows.items() if row is not None}
    taken = {look for look in given.values() if all(look)}
    chosen: dict[str, Look] = {}
    for name in sorted(families):  # whatever order the table has
        look = given.get(name, ("", ""))
        chosen[name] = look if all(look) else _free_look(name, look, taken)
        taken.add(chosen[name])
    return {name: chosen[family(name)] for name in names}


def _free_look(name: str, given: Look, taken: Set[Look]) -> Look:
    """The first look that is not taken, counted from a place that the name decides; that place where all are taken."""
    spare = [
        # each round over the colours has other markers: 66 different looks
        (given[0] or _SPARE_COLOURS[i % len(_SPARE_COLOURS)], given[1] or _SPARE_MARKERS[i % len(_SPARE_MARKERS)])
        for i in range(len(_SPARE_COLOURS) * len(_SPARE_MARKERS))
    ]
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % len(spare)
    ordered = spare[start:] + spare[:start]
    return next((look for look in ordered if look not in taken), ordered[0])


@cache
def text_colour(colour: str) -> str:
    """The colour "#rrggbb", darkened as far as a name written in it needs to be read on white."""
    channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    while 1.05 / (_luminance(channels) + 0.05) < _CONTRAST:
        channels = [int(channel * 0.95) for channel in channels]
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def _luminance(channels: Sequence[int]) -> float:
    """Relative luminance of sRGB in 0..255, as WCAG 2.2 defines it."""
    parts = [c / 12.92 if (c := channel / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for channel in channels]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def save(figure: Figure, out: IO[bytes], ending: str) -> None:
    """Write a figure as png, svg or pdf without date or version, so that equal data give equal bytes."""
    import matplotlib as mpl

    metadata = {"svg": {"Date": None}, "png": {"Software": None}, "pdf": {"CreationDate": None}}
    with mpl.rc_context(RC):
        figure.savefig(out, format=ending, metadata=metadata[ending])


def drawn(figure: Figure, ending: str) -> bytes:
    """The bytes of a figure as png, svg or pdf."""
    buffer = io.BytesIO()
    save(figure, buffer, ending)
    return buffer.getvalue()
