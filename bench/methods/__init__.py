"""Methods: weights plus a schedule. See `catalogue` for the rows, `schedule` for w_i, `resolve` for settings."""

from __future__ import annotations

from bench.methods.catalogue import Method, get_method, method_names, register_method
from bench.methods.schedule import Schedule
from bench.suite.resolve import resolve_method, resolve_methods

__all__ = [
    "Method",
    "Schedule",
    "get_method",
    "method_names",
    "register_method",
    "resolve_method",
    "resolve_methods",
]
