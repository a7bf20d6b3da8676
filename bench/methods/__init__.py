"""Methods: weights plus a schedule. `catalogue` has the rows, `schedule` w_i; settings: `bench.suite.resolve`."""

from __future__ import annotations

from bench.methods.catalogue import Method, get_method, method_names, register_method
from bench.methods.schedule import Schedule

__all__ = [
    "Method",
    "Schedule",
    "get_method",
    "method_names",
    "register_method",
]
