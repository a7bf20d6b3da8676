"""Lets a module be called like the function it is named after: `bench.report(...)` next to `import bench.report`.

Importing a submodule sets it as an attribute of its package and would hide a function of the same name there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def make_callable(module_name: str, function: Callable[..., Any]) -> None:
    """Make the module call `function` (PEP 562's neighbour: assigning a module's `__class__` is supported)."""

    class CallableModule(ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

    sys.modules[module_name].__class__ = CallableModule
