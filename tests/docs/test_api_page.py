from __future__ import annotations

from pathlib import Path

import bench
import metrics
from bench.cli.api_page import page

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_public_name_has_its_place() -> None:
    errors = {name for name in metrics.__all__ if name.endswith("Error")}  # the head of the page speaks of them
    names = [f"bench.{name}" for name in bench.__all__]
    names += [f"metrics.{name}" for name in metrics.__all__ if name not in errors]
    assert [name for name in names if f"\n### {name}\n" not in page()] == []
