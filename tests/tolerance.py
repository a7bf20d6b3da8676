"""Tolerances relative to the scale of what is compared.

A network's float32 sums come out in another order with another batch, thread count or instruction set, so its values
move by some of their last bits: in proportion to their size. A fixed bound is too strict for values of 33 and too loose
for values of 0.01.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

FLOAT32 = 1e-5
"""Of the largest value: what the rounding of a network's float32 sums comes to."""
FLOAT64 = 1e-10
"""Of the largest value: sums in float64."""


def relative_difference(actual: Any, expected: Any, scale: float | None = None) -> float:
    """The largest difference, over `scale` or else the largest magnitude in `expected`. NaN where one has a NaN.

    Takes tensors, arrays and (lists of) numbers of one shape. Against nothing but zeros, any difference is infinite.
    """
    first, second = _array(actual), _array(expected)
    assert first.shape == second.shape, f"shapes {first.shape} and {second.shape}"
    if not first.size:
        return 0.0
    largest = float(np.abs(first - second).max())
    unit = float(np.abs(second).max()) if scale is None else scale
    return largest / unit if largest and unit else (np.inf if largest else 0.0)


def assert_close(actual: Any, expected: Any, rel: float = FLOAT32, *, scale: float | None = None) -> None:
    """Fail unless `actual` equals `expected` up to `rel` of the scale (see `relative_difference`)."""
    difference = relative_difference(actual, expected, scale)
    shown = f": {actual} against {expected}" if _array(expected).size <= 10 else ""
    assert difference <= rel, f"differs by {difference:.2e} of the scale, {rel:.0e} is allowed{shown}"


def assert_parity(metric: str, ours: Any, reference: Any, mistake: str, mistaken: Any, rel: float = FLOAT32) -> None:
    """`assert_close`, with a mistake planted in the reference that must show a hundred times as much.

    Prints a row of the second table of docs/parity_readings.md.
    """
    difference, planted = relative_difference(ours, reference), relative_difference(mistaken, reference)
    print(f"\n| `{metric}` | {_array(ours).size:,} | {difference:.1e} | {mistake} | {planted:.1e} |")
    assert difference <= rel
    assert planted > 100 * rel, f"{metric}: {mistake} is not seen"


def _array(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
