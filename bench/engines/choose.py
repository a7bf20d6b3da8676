"""The engine that is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.engines.engine import Engine
from bench.engines.local import LOCAL
from bench.engines.options import EngineOptions

if TYPE_CHECKING:
    from bench.suite.schema import Suite


@contextlib.contextmanager
def chosen_engine(options: EngineOptions, scoring: Suite | None = None) -> Iterator[Engine]:
    """The engine; what it starts ends with the block. The options were checked.

    `scoring`: the suite of the metrics that will be asked for, if that is known.
    """
    if options.engine == "local":
        yield LOCAL
        return
    from bench.engines.ray import RayEngine

    engine = RayEngine(options, scoring)
    try:
        yield engine
    finally:
        engine.close()
