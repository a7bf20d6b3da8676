from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.suite.load import load_suite
from bench.suite.schema import Suite

if TYPE_CHECKING:
    from conftest import TinySuite


@pytest.fixture
def suite(tiny_suite: TinySuite) -> Suite:
    """The tiny suite of tests/conftest.py, loaded anew: a test may change it."""
    return load_suite(tiny_suite.toml)
