"""How figures look: sizes of a paper's page, a palette that colour-blind readers can tell apart, fixed output bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

from bench.report.model import family

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
_SPARE = (
    ("#56b4e9", "<"), ("#e69f00", ">"), ("#cc79a7", "d"), ("#7a5195", "8"), ("#8c6d31", "*"), ("#555555", "H"),
)  # fmt: skip

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
    """Name -> (colour, marker). Methods of one sweep look alike; unknown ones take the spare looks in order."""
    families = dict.fromkeys(family(name) for name in names)
    spare = iter(_SPARE * (len(families) // len(_SPARE) + 1))
    chosen = {name: _LOOKS.get(name) or next(spare) for name in families}
    return {name: chosen[family(name)] for name in names}


def save(figure: Figure, out: IO[bytes], ending: str) -> None:
    """Write a figure as png, svg or pdf without date or version, so that equal data give equal bytes."""
    import matplotlib as mpl

    metadata = {"svg": {"Date": None}, "png": {"Software": None}, "pdf": {"CreationDate": None}}
    with mpl.rc_context(RC):
        figure.savefig(out, format=ending, metadata=metadata[ending])
