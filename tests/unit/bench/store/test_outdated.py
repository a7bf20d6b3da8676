"""Runs that an older version made of weights which it read otherwise are in no comparison."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.store.outdated import mark_outdated, why_outdated
from bench.store.run_store import RunStore
from bench.store.select import open_runs
from tests.unit.bench.scoring.fakes import run_of


def finished(results: Path, name: str) -> RunStore:
    store = run_of(results, {"a": [20]}, name)
    manifest = store.manifest()
    manifest.status = "complete"
    store.write_manifest(manifest)
    return store


def test_an_outdated_run_is_left_out_and_refused_by_name(tmp_path: Path) -> None:
    kept, old = finished(tmp_path, "new"), finished(tmp_path, "old")
    mark_outdated(old, "an older version made it")
    assert why_outdated(kept) is None
    assert why_outdated(old) == "an older version made it"
    runs, left_out, named = open_runs(tmp_path)
    assert [run.method for run in runs] == ["new"]
    assert [(omitted.method, omitted.why, omitted.finished) for omitted in left_out] == [
        ("old", "outdated: an older version made it", True)
    ]
    assert not named
    with pytest.raises(UsageError, match=r"old@00c0ffee is outdated: an older version made it"):
        open_runs(old.path)
