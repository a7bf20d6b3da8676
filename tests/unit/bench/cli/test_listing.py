from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.listing import table_of
from bench.errors import UsageError
from bench.suite.load import load_suite
from bench.suite.schema import check_metrics


def test_metrics_that_are_not_supported_are_listed_as_such() -> None:
    rows = {row[0]: row for row in table_of("metrics").rows}
    assert rows["hpsv3"][1] == "HPSv3"
    assert rows["mps"][1] == "MPS (not supported)"
    assert rows["aesthetic"][1:4] == ("LAION aesthetic", "image", "↑")
    assert {"cmmd", "fd_dinov2", "fid_clean", "fid_torchmetrics", "clip_diversity", "attribute_entropy"} <= set(rows)
    assert sum("not supported" in cell for row in rows.values() for cell in row) == 1


@pytest.mark.parametrize("name", ["mps"])
def test_metrics_that_are_not_supported_are_refused_before_anything_is_made(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^metric '{name}' is not supported, because ") as caught:
        check_metrics(["pickscore", name])
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="is not supported"):
        load_suite("shapes").override(metrics=[name])
    shapes = Path(load_suite.__code__.co_filename).parent / "ready" / "shapes.toml"
    suite = tmp_path / "mine.toml"
    suite.write_text(shapes.read_text(encoding="utf-8") + f"\n[metrics.{name}]\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"mine.toml: metric '{name}' is not supported"):
        load_suite(suite)
