"""How figures look: sizes of a paper's page, a palette that colour-blind readers can tell apart, fixed output bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import count
from typing import IO, TYPE_CHECKING, Any

from bench.analysis.table.rows import family

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE_WIDTH = 7.0  # inches: two columns of a paper
INK, FAINT, GRID = "#222222", "#8a8a8a", "#e4e4e4"

# Okabe & Ito (2008), without its yellow, which is too pale on white; markers tell methods apart in greyscale too.
_LOOKS = {
    "base": ("#707070", "o"),
    "refl": ("#d55e00", "s"),
    "combined": ("#0072b2", "^"),
    "imagerefl": ("#009e73", "D"),
    "aig": ("#cc79a7", "v"),
    "draft": ("#e69f00", "P"),
    "dpo": ("#56b4e9", "X"),
    "scaled": ("#7a5195", "p"),
    "mixgrpo": ("#8c6d31", "h"),
}
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
    "svg.hashsalt": "imagerefl-bench",
    "svg.fonttype": "path",
    "figure.dpi": 100,
    "savefig.dpi": 220,
}


def looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Name -> (colour, marker). Methods of one sweep look alike; unknown ones take the spare looks in order.

    The spare looks are all different up to 66 methods: each round over the colours has other markers.
    """
    families = dict.fromkeys(family(name) for name in names)
    spare = (
        (_SPARE_COLOURS[i % len(_SPARE_COLOURS)], _SPARE_MARKERS[(i + i // 66) % len(_SPARE_MARKERS)]) for i in count()
    )
    chosen = {name: _LOOKS.get(name) or next(spare) for name in families}
    return {name: chosen[family(name)] for name in names}


@cache
def text_colour(colour: str) -> str:
    """The colour "#rrggbb", darkened as far as a name written in it needs to be read on white."""
    channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    while 1.05 / (_luminance(channels) + 0.05) < _CONTRAST:
        channels = [int(one * 0.95) for one in channels]
    return "#" + "".join(f"{one:02x}" for one in channels)


def _luminance(channels: Sequence[int]) -> float:
    """Relative luminance of sRGB in 0..255, as WCAG 2.2 defines it."""
    parts = [c / 12.92 if (c := one / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def save(figure: Figure, out: IO[bytes], ending: str) -> None:
    """Write a figure as png, svg or pdf without date or version, so that equal data give equal bytes."""
    import matplotlib as mpl

    metadata = {"svg": {"Date": None}, "png": {"Software": None}, "pdf": {"CreationDate": None}}
    with mpl.rc_context(RC):
        figure.savefig(out, format=ending, metadata=metadata[ending])
