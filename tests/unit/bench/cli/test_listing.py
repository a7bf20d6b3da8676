from __future__ import annotations

from pathlib import Path

import pytest

import metrics
from bench.cli.listing import table_of
from bench.errors import UsageError
from bench.suite.load import load_suite
from bench.suite.schema import check_metrics
from metrics.types import Direction, Facts, Kind


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> str:
    """A metric that a plug-in only names; none of the catalogue is like that."""
    from metrics import catalogue

    monkeypatch.setattr(catalogue, "_FACTS", dict(catalogue._FACTS))
    monkeypatch.setattr(catalogue, "_TARGETS", dict(catalogue._TARGETS))
    facts = Facts("closed", "Closed", Kind.IMAGE, Direction.HIGHER, unsupported="its weights are not published")
    metrics.register("closed", "metrics.unsupported:Unsupported", facts)
    return "closed"


def test_metrics_that_are_not_supported_are_listed_as_such(closed: str) -> None:
    rows = {row[0]: row for row in table_of("metrics").rows}
    assert rows["hpsv3"][1] == "HPSv3"
    assert rows["mps"][1] == "MPS"
    assert rows[closed][1] == "Closed (not supported)"
    assert rows["aesthetic"][1:4] == ("LAION aesthetic", "image", "↑")
    assert {"cmmd", "fd_dinov2", "fid_clean", "fid_torchmetrics", "clip_diversity", "attribute_entropy"} <= set(rows)
    assert sum("not supported" in cell for row in rows.values() for cell in row) == 1


def test_metrics_that_are_not_supported_are_refused_before_anything_is_made(closed: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^metric '{closed}' is not supported, because ") as caught:
        check_metrics(["pickscore", closed])
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="is not supported"):
        load_suite("shapes").override(metrics=[closed])
    shapes = Path(load_suite.__code__.co_filename).parent / "ready" / "shapes.toml"
    suite = tmp_path / "mine.toml"
    suite.write_text(shapes.read_text(encoding="utf-8") + f"\n[metrics.{closed}]\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"mine.toml: metric '{closed}' is not supported"):
        load_suite(suite)
