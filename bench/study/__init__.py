"""The human preference study: makes it from runs, serves or exports it, takes answers in, and judges them.

    bench.study.make(runs, out)        a study's folder: blinded pictures and a balanced plan
    bench.study.open_study(folder)     the folder as data
    bench.study.serve(folder)          the raters' pages, until interrupted
    bench.study.simulate(folder)       annotators of the embedded world answer through the same server
    bench.study.export(folder, ...)    bundles without a server, links for platforms, tasks for Label Studio
    bench.study.import_answers(...)    answers that were given elsewhere
    bench.study.forget(folder, rater)  removes all rows of a rater

The functions are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "export": "bench.study.exporting",
    "forget": "bench.study.forgetting",
    "import_answers": "bench.study.importing",
    "make": "bench.study.making",
    "open_study": "bench.study.folder",
    "serve": "bench.study.serving",
    "simulate": "bench.study.simulation",
}

__all__ = ["export", "forget", "import_answers", "make", "open_study", "serve", "simulate"]

if TYPE_CHECKING:
    from bench.study.exporting import export
    from bench.study.folder import open_study
    from bench.study.forgetting import forget
    from bench.study.importing import import_answers
    from bench.study.making import make
    from bench.study.serving import serve
    from bench.study.simulation import simulate


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'bench.study' has no attribute '{name}'")
