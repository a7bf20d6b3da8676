"""Plain values as CSV: NaN and None are empty, what is true is "yes", numbers have six digits."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence


def records_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """One line a row under the keys of the first; "" of no rows."""
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _plain(value) for key, value in row.items()} for row in rows)
    return out.getvalue()


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else str(value)
