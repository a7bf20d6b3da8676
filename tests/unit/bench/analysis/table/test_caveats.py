"""Warnings, costs and the facts of metric cards."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from bench.analysis.table.build import build
from bench.analysis.table.costs import cost_columns
from bench.reporting.gallery import gallery_figure
from bench.reporting.protocol import environments, metric_card, origins, plain, protocol
from bench.reporting.report import report
from bench.reporting.tables import markdown
from bench.store.records import Manifest
from bench.store.run_store import RunStore
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[4] / "data" / "judging" / "fakes.py"))
make, card = fakes["make"], fakes["card"]


def change(store: RunStore, **fields: Any) -> None:
    store.write_manifest(Manifest(**{**store.manifest().to_dict(), **fields}))


def test_what_metrics_noted_is_told_once_and_of_whom(tmp_path: Path) -> None:
    leak = "the method was trained on its reference set 'coco', the others may not have been"
    change(make(tmp_path, "base", prompts=12), notes={"pickscore": ["2 prompts were cut at 77 tokens"]})
    store = make(tmp_path, "imagerefl", prompts=12)
    change(store, notes={"pickscore": ["2 prompts were cut at 77 tokens"], "fid": [leak]})
    table = build(open_runs(tmp_path)[0], n_resamples=50)
    assert [note for note in table.notes if "cut" in note] == ["PickScore (shapes): 2 prompts were cut at 77 tokens"]
    assert f"FID (shapes) of imagerefl: {leak}" in table.notes
    cards = {facts.name: metric_card(table, facts) for facts in table.metrics}
    assert cards["pickscore"]["notes"] == ["2 prompts were cut at 77 tokens"]
    assert cards["fid"]["notes"] == [f"imagerefl: {leak}"]


def test_batches_smaller_than_planned_are_noted(tmp_path: Path) -> None:
    change(make(tmp_path, "base", prompts=3), batches={"size": 8, "sizes": [8, 4], "layers": []})
    change(make(tmp_path, "refl", prompts=3), batches={"size": 8, "sizes": [8], "layers": []})
    notes = [note for note in build(open_runs(tmp_path)[0], n_resamples=50).notes if "batches" in note]
    told = "batches of 8 were planned, and some images were made 4 at a time"
    assert notes == [f"base: {told}: last bits may differ from a run that was not"]


def test_what_was_not_scored_is_noted(tmp_path: Path) -> None:
    make(tmp_path, "base", prompts=3, samples=2)
    make(tmp_path, "refl", prompts=3, samples=2, metrics=("pickscore", "lpips"))
    notes = build(open_runs(tmp_path)[0], n_resamples=50).notes
    assert any(note.startswith("3 prompts: a kind of prompt rarer than 100% (3/n) cannot be seen") for note in notes)
    assert "diversity rests on 2 images per prompt: a value over few images is noisy" in notes
    assert "FID (shapes) on N = 6 images: its value depends on N, compare only at equal N" in notes
    assert "FID (shapes) was not scored for refl" in notes


def test_costs_are_per_image_and_absent_where_not_recorded(tmp_path: Path) -> None:
    store = make(tmp_path, "base", prompts=3, samples=2)
    counts = {"images": 6, "images_generated": 6}
    counts |= {"network_evaluations_needed": 480, "network_evaluations_executed": 240}
    change(store, counts=counts, timings={"generate_seconds": 3.0, "peak_memory_bytes": 2**30})
    make(tmp_path, "refl", prompts=3, samples=2)
    columns = cost_columns(build(open_runs(tmp_path)[0], n_resamples=50))
    assert {column.name: column.values for column in columns} == {
        "evaluations": [80, None], "executed": [40, None], "seconds": [0.5, None], "memory": [1, None],
    }  # fmt: skip


def test_a_card_says_everything_but_where_files_lay(tmp_path: Path) -> None:
    facts = card(
        "lpips",
        low=0.0,
        high=None,
        source="/home/someone/weights/lpips",
        published="the lpips package",
        weights={"a.safetensors": "f" * 64},
        settings={"resize": "none", "mean": [0.5, 0.25], "antialias": True},
        asked={"options": {"net": "alex", "resize": "none"}},
    )
    make(tmp_path, "base", prompts=3, cards={"lpips": facts})
    table = build(open_runs(tmp_path)[0], n_resamples=50)
    made = metric_card(table, next(metric for metric in table.metrics if metric.name == "lpips"))
    rows = dict(made["rows"])
    assert rows["Range"] == "[0, ∞)"
    assert rows["Weights from"] == "local files (lpips); the published ones are the lpips package"
    assert rows["Options"] == "net alex"
    assert rows["Values scored"] == "n = 3 per method"
    assert made["settings"] == [("resize", "none"), ("mean", "0.5, 0.25"), ("antialias", "yes")]
    assert made["weights"] == [("a.safetensors", "f" * 64)]


def test_protocol_and_provenance(tmp_path: Path) -> None:
    store = make(tmp_path, "base", prompts=3)
    made = {"created": "2026-01-02T03:04:05+00:00", "python": "3.11.7", "packages": {"torch": "2.15.0"}}
    made |= {"git": {"commit": "0123456789abcdef", "dirty": True}, "device": "cpu"}
    change(store, provenance=made, resolved_method={"name": "base", "weights": "/home/someone/unet"})
    table = build(open_runs(tmp_path)[0], n_resamples=50)
    assert dict(protocol(table))["Images"] == "5 per prompt, 15 per method"
    (origin,) = origins(table)
    assert origin["created"] == "2026-01-02 03:04:05 UTC"
    assert origin["commit"] == "0123456789 with changes"
    assert "someone" not in str(origin["weights"])
    assert environments(table) == [("all methods", [("python", "3.11.7"), ("torch", "2.15.0")])]
    assert plain({"a": None, "b": [1, 2.5], "c": {}}) == "b 1, 2.5"


def test_the_same_noise_is_claimed_only_where_it_is_on_record(tmp_path: Path) -> None:
    make(tmp_path, "base", prompts=3, samples=2)
    make(tmp_path, "refl", prompts=3, samples=2)
    known = build(open_runs(tmp_path)[0], n_resamples=50)
    assert known.same_noise
    assert dict(protocol(known))["Noise"].endswith("the same for all methods")
    assert not any("noise" in note for note in known.notes if "diversity" not in note)
    taken = make(tmp_path, "outside", prompts=3, samples=2, means=fakes["MEANS"]["refl"])
    change(taken, identity={"external": "0", "prompts": 3})  # images that were only scored
    table = build(open_runs(tmp_path)[0], n_resamples=50)
    assert not table.same_noise
    assert any(note.startswith("the noise of outside is not on record") for note in table.notes)
    told = dict(protocol(table))
    assert told["Seed"] == "42 (not on record: outside)"
    assert told["Sampler"].endswith("(not on record: outside)")
    assert "same for all methods" not in told["Noise"]


@pytest.mark.slow
def test_nothing_claims_the_same_noise_of_a_page_with_images_from_elsewhere(tmp_path: Path) -> None:
    make(tmp_path / "r", "base", prompts=3, samples=2, images=True)
    taken = make(tmp_path / "r", "outside", prompts=3, samples=2, images=True, means=fakes["MEANS"]["refl"])
    change(taken, identity={"external": "0", "prompts": 3})
    table = build(open_runs(tmp_path / "r")[0], n_resamples=50)
    sheet = gallery_figure(table)
    assert sheet is not None
    assert not any("same noise" in text.get_text().replace("not always the same noise", "") for text in sheet.texts)
    html = next(path for path in report(tmp_path / "r", tmp_path / "out", n_resamples=50) if path.name == "index.html")
    body = html.read_text(encoding="utf-8").split("<body>")[1].split("<script")[0]
    denied = ("not always the same noise", "need not have the same noise", "not on the same noise")
    for denial in denied:
        body = body.replace(denial, "")
    assert "same noise" not in body
    assert "shared noise" not in body


def test_the_line_on_intervals_says_what_was_computed(tmp_path: Path) -> None:
    for prompts, kind in ((1, "no interval:"), (12, "Student's t"), (30, "Student's t")):
        make(tmp_path / str(prompts), "base", prompts=prompts, samples=2, metrics=("pickscore",))
        table = build(open_runs(tmp_path / str(prompts))[0], n_resamples=50)
        assert kind in table.protocol
        assert not any(" 1 prompts" in text for text in (table.protocol, *table.notes))
        assert kind in markdown(table)
