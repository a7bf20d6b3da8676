"""Outdated runs are named with what removes them, and those that cannot be looked at are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.doctor.spoiled import spoiled_runs
from tests.unit.bench.models.test_old_runs import READ_ALIKE, READ_OTHERWISE, old_run, suite_of
from tests.unit.bench.models.tiny import tiny_pipeline


@pytest.mark.parametrize("gone", [False, True])
def test_each_run_has_its_line(tmp_path: Path, gone: bool) -> None:
    base, results = tiny_pipeline(tmp_path / "base"), tmp_path / "my results"
    (tmp_path / "a").mkdir()
    bad = READ_OTHERWISE["alphas by layer"][0](tmp_path, base)
    suite = suite_of(base, refl=bad, draft=READ_ALIKE["LoRA"](tmp_path / "a", base))
    runs = {name: old_run(results, suite, name) for name in ("base", "refl", "draft")}
    if gone:
        bad.unlink()
    found = {finding.subject: finding for finding in spoiled_runs(results)}
    finding = found[runs["refl"].name]
    assert not finding.needed
    if gone:
        assert (finding.mark, finding.fix) == ("ok", "")
        assert "are not on this machine" in finding.state
        assert set(found) == {run.name for run in runs.values()}, "what its call did to the base network is not known"
    else:
        assert finding.mark == "suspect"
        assert finding.fix.startswith(f"rm -r '{runs['refl'].path}'")
        assert set(found) == {runs["refl"].name}
    assert not list(spoiled_runs(tmp_path / "empty"))
