"""imagerefl-bench: how much diversity did a reward-aligned text-to-image model pay for its quality?

The public functions are loaded on first use, so `import bench` costs nothing:

    bench.run(...)            generate, score and summarise
    bench.load_results(path)  tidy rows as a pandas.DataFrame
    bench.report(...)         tables and Pareto plots
    bench.check(...)          verdicts against thresholds

and what a file of one's own needs (`bench run --plugin my_methods.py`):

    bench.register_method(bench.Method(..., bench.Schedule(...)))
    bench.register_model(family, "my_module:Class")
    metrics.register(name, "my_module:Class", metrics.Facts(...))
"""

from __future__ import annotations

import importlib
from typing import Any

# No submodule of `bench` has the name of a function here, so each name is the function and nothing else.
_PUBLIC = {
    "run": "bench.pipeline.run",
    "load_results": "bench.store.load_results",
    "report": "bench.reporting.report",
    "check": "bench.gate.check",
    "Method": "bench.methods.catalogue",
    "Schedule": "bench.methods.schedule",
    "register_method": "bench.methods.catalogue",
    "register_model": "bench.registry.families",
}

__all__ = [
    "Method",
    "Schedule",
    "check",
    "load_results",
    "register_method",
    "register_model",
    "report",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("imagerefl-bench")
        except PackageNotFoundError:  # a checkout that was never installed
            return "0+unknown"
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'bench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
