"""The same text under several ids, and prompts of one scene: intervals of the right width, through files."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.compare import compare
from bench.analysis.table.build import build
from bench.gate.baseline import baseline_of
from bench.gate.check import check
from bench.store.clusters import clusters_of
from bench.store.records import ScoreRow
from bench.store.run_store import RunStore
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
TIMES = 4


def run_of(folder: Path, method: str, prompts: int, times: int, *, tag: bool = False, named: bool = True) -> RunStore:
    """A run of `prompts` prompts, each `times` times under ids of its own, and with the same values every time."""
    count = prompts * times
    spellings = ("prompt {}", "Prompt  {}")
    texts = {i: f"prompt {i}" if tag else spellings[i // prompts % 2].format(i % prompts) for i in range(count)}
    store: RunStore = fakes["make"](folder, method, prompts=count, samples=2, metrics=(), texts=texts)
    draws = np.random.default_rng([ord(method[0]), prompts])
    shared = np.random.default_rng(1).normal(size=(prompts, 1))
    for metric, width in (("pickscore", 2), ("lpips", 1)):
        values = shared + (0.6 if method == "refl" else 0.0) + 0.5 * draws.normal(size=(prompts, width))
        rows = [
            ScoreRow(f"p{i:04d}", s if width > 1 else None, float(values[i % prompts, s]))
            for i in range(count)
            for s in range(width)
        ]
        store.append_scores(metric, rows, fakes["card"](metric))
    manifest = store.manifest()
    if tag:
        for i, prompt in enumerate(manifest.prompts):
            prompt["tags"] = ["any", f"scene:{i % prompts}"]
        if named:
            manifest.resolved_suite["cluster"] = "scene"
    store.write_manifest(manifest)
    return store


def limits_of(folder: Path, times: int, **options: Any) -> dict[str, tuple[float, ...]]:
    """Intervals of compare, the table and the gate, by where they stand."""
    stores = [run_of(folder, method, 24, times, **options) for method in ("base", "refl")]
    found: dict[str, tuple[float, ...]] = {}
    for one in compare(*stores).differences:
        found[f"compare {one.facts.name}"] = (one.interval.low, one.interval.high, one.paired.p)
    table = build(open_runs(folder)[0], n_resamples=50)
    for row in table.rows:
        found |= {f"table {row.name} {name}": (cell.low, cell.high) for name, cell in row.cells.items()}
    for one in table.differences["refl"]:
        found[f"table {one.facts.name}"] = (one.interval.low, one.interval.high)
    file = folder / "t.toml"
    file.write_text(
        "[refl.pickscore]\nmin = 0\nmax_drop = 9\n[refl.lpips]\nmin = 0\n"
        '[refl.dominates]\nover = "base"\non = ["pickscore"]\n'
    )
    before = baseline_of([stores[1]])
    for verdict in check(folder, file, before):
        found[f"gate {verdict.name}"] = (verdict.ci_low, verdict.ci_high)
    return found


def test_one_text_under_several_ids_says_why_there_is_no_interval(tmp_path: Path) -> None:
    table = build(open_runs([run_of(tmp_path, "base", 1, TIMES).path])[0])
    assert f"no interval: {TIMES} prompts of one text or scene carry no between-prompt variance" in table.protocol


def same(a: dict[str, tuple[float, ...]], b: dict[str, tuple[float, ...]]) -> bool:
    return set(a) == set(b) and all(np.allclose(a[key], b[key], rtol=1e-9, equal_nan=True) for key in a)


def test_the_same_text_under_several_ids_makes_no_interval_narrower(tmp_path: Path) -> None:
    once, often = limits_of(tmp_path / "1", 1), limits_of(tmp_path / "2", TIMES)
    assert same(once, often)


@pytest.mark.slow
def test_a_tag_above_the_prompts_is_their_cluster(tmp_path: Path) -> None:
    once, tagged = limits_of(tmp_path / "1", 1), limits_of(tmp_path / "2", TIMES, tag=True)
    assert same(once, tagged)


@pytest.mark.slow
def test_without_the_cluster_the_same_values_would_be_too_sure(tmp_path: Path) -> None:
    """What the two tests above would miss if clusters did nothing: half as wide with four times as many prompts."""
    once, wrong = limits_of(tmp_path / "1", 1), limits_of(tmp_path / "2", TIMES, tag=True, named=False)
    narrow = np.diff(wrong["compare pickscore"][:2]) / np.diff(once["compare pickscore"][:2])
    assert float(narrow[0]) == pytest.approx(0.5, abs=0.05)
    assert not same(once, wrong)


def test_it_is_said_under_every_table(tmp_path: Path, said: list[str]) -> None:
    stores = [run_of(tmp_path, method, 24, 2) for method in ("base", "refl")]
    told = "48 prompts, of which some have the same text: intervals rest on 24 clusters"
    assert told in compare(*stores).notes
    assert told in build(open_runs(tmp_path)[0], n_resamples=50).notes
    file = tmp_path / "t.toml"
    file.write_text("[refl.pickscore]\nmin = 0\n")
    check(tmp_path, file)
    assert told in said


def test_a_cluster_that_no_prompt_has_is_said(tmp_path: Path) -> None:
    stores = [run_of(tmp_path, method, 24, 1, tag=True) for method in ("base", "refl")]
    for store in stores:
        manifest = store.manifest()
        manifest.resolved_suite["cluster"] = "sceen"
        store.write_manifest(manifest)
    told = 'cluster = "sceen" names a tag that none of the prompts has: there each text is a cluster of its own'
    assert told in compare(*stores).notes
    manifest = stores[0].manifest()
    manifest.resolved_suite["cluster"] = "scene"
    manifest.prompts[0]["tags"] = []
    stores[0].write_manifest(manifest)
    assert any("names a tag that 1 prompt does not have" in note for note in compare(*stores).notes)


def test_numbers_are_in_the_order_of_the_prompts() -> None:
    prompts = [("b", "x"), ("a", "y"), ("c", " X ")]
    assert clusters_of(prompts, {}) == {"b": 0, "a": 1, "c": 0}
    tags = {"b": ("scene=1",), "a": ("scene=1", "scene:2"), "c": ("scene=2",)}
    assert clusters_of(prompts, tags, "scene") == {"b": 0, "a": 0, "c": 1}
    assert clusters_of(prompts, tags, "scen") == {"b": 0, "a": 1, "c": 0}
