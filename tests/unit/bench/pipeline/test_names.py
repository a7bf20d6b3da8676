"""Names of runs: given ones, those of other checkpoints, and those of points of a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.analysis.table.build import build
from bench.errors import UsageError
from bench.gate.check import check
from bench.pipeline import run as pipeline
from bench.store.run_store import RunStore, find_runs
from bench.store.runs import read_run
from bench.store.select import select
from bench.suite.schema import Suite
from tests.unit.bench.models import fake_metrics
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_unet


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    tiny_pipeline(folder / "pipeline")
    for seed in (5, 6):
        tiny_unet(seed).save_pretrained(folder / f"out-step{seed}" / "unet")
    return folder


@pytest.fixture
def suite(weights: Path, tmp_path: Path) -> Suite:
    fake_metrics.install()
    prompts = tmp_path / "p.txt"
    prompts.write_text("a red circle\na large star\n")
    return Suite.model_validate(
        {
            "name": "tiny",
            "model": {"weights": str(weights / "pipeline")},
            "prompts": str(prompts),
            "samples": 1,
            "resolution": 32,
            "sampler": {"steps": 4},
            "methods": {"refl": {"weights": str(weights / "out-step5" / "unet")}, "combined": {"switch_step": 2}},
            "metrics": {"fake_image": {}},
        }
    )


def run(suite: Suite, folder: Path, method: str, **options: object) -> list[RunStore]:
    return pipeline.run(suite, [method], results=folder, **options)  # type: ignore[arg-type]


def names(folder: Path) -> dict[str, str]:
    """Run id -> its given name."""
    return {store.name: store.manifest().name for store in find_runs(folder)}


@pytest.mark.slow
def test_a_name_means_one_run_and_moves(suite: Suite, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (first,) = run(suite, tmp_path, "base", name="nightly")
    assert select(["nightly"], tmp_path) == [first.path]
    (second,) = run(suite, tmp_path, "refl", name="nightly")
    assert names(tmp_path) == {first.name: "", second.name: "nightly"}
    assert f"the name 'nightly' moves from {first.name} to {second.name}" in caplog.text
    run(suite, tmp_path, "refl")  # again, without a name: it keeps it
    assert names(tmp_path)[second.name] == "nightly"
    assert [row.name for row in build([read_run(one) for one in (first, second)]).rows] == ["base", "nightly"]
    gate = tmp_path / "gate.toml"
    gate.write_text("[nightly.fake_image]\nmin = -1\n[refl.fake_image]\nmin = -1\n[base.fake_image]\nmin = 1000\n")
    outcome = check(tmp_path, gate, results=tmp_path)
    assert {one.method: one.status for one in outcome} == {"nightly": "passed", "refl": "passed", "base": "failed"}


@pytest.mark.slow
def test_a_name_that_moves_to_another_suite_says_both(
    suite: Suite, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (first,) = run(suite, tmp_path, "base", name="nightly")
    (second,) = run(suite.model_copy(update={"name": "other"}), tmp_path, "base", name="nightly")
    assert f"moves from {first.name} of suite tiny to {second.name} of suite other" in caplog.text


def test_names_that_are_refused(suite: Suite, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--name x names one run, but this call makes 2"):
        pipeline.run(suite, ["base", "refl"], results=tmp_path, name="x")
    with pytest.raises(UsageError, match=r"--name '../x' cannot be a name"):
        run(suite, tmp_path, "base", name="../x")
    assert not find_runs(tmp_path)


@pytest.mark.slow
def test_other_weights_are_the_same_method(suite: Suite, weights: Path, tmp_path: Path) -> None:
    stores = [
        store
        for seed in (5, 6)
        for store in run(suite, tmp_path, "combined", settings={"weights": str(weights / f"out-step{seed}" / "unet")})
    ]
    assert [store.manifest().method for store in stores] == ["combined"] * 2
    assert all(store.name.startswith("combined-weights-unet-") for store in stores)
    assert str(weights).replace("/", "-") not in stores[0].name
    digests = [store.manifest().identity["tuned"][:8] for store in stores]
    table = build([read_run(store) for store in stores])
    assert sorted(row.name for row in table.rows) == sorted(f"combined[weights=unet-{one}]" for one in digests)
    assert [row.name for row in build([read_run(stores[1])]).rows] == ["combined"]
    gate = tmp_path / "gate.toml"
    gate.write_text("[combined.fake_image]\nmin = -1\n")
    outcome = check("combined", gate, results=tmp_path)
    assert [(one.method, one.status) for one in outcome] == [("combined", "passed")]


@pytest.mark.slow
def test_images_of_a_run_under_an_older_name_are_taken_over(suite: Suite, weights: Path, tmp_path: Path) -> None:
    settings = {"weights": str(weights / "out-step6" / "unet")}
    (store,) = run(suite, tmp_path, "combined", settings=settings)
    old = RunStore.create(tmp_path, store.suite, "combined-weights-tmp-somewhere", store.name.partition("@")[2])
    manifest = store.manifest()
    manifest.run = old.name
    old.write_manifest(manifest)
    old.append_images([row for row in (old.adopt_image(store, row) for row in store.images()) if row is not None])
    store.remove()
    (again,) = run(suite, tmp_path, "combined", settings=settings)
    assert again.manifest().counts["images_generated"] == 0
    assert again.manifest().counts["images_reused"] == 2


@pytest.mark.slow
def test_a_point_of_a_sweep_at_the_default_keeps_its_setting_and_place(
    suite: Suite, weights: Path, tmp_path: Path
) -> None:
    tuned = str(weights / "out-step5" / "unet")
    stores = run(suite, tmp_path, "combined", settings={"switch_step": [3, 1, 2], "combined.weights": tuned})
    table = build([read_run(store) for store in stores])
    assert [row.name for row in table.rows] == [f"combined[switch_step={k}]" for k in (1, 2, 3)]
    (curve,) = table.curves
    assert [value for _, value in curve.members] == ["1", "2", "3"]
    alone = [store for store in stores if "switch_step" not in store.name]
    assert len(alone) == 1  # the same run as without the setting
    assert [row.name for row in build([read_run(alone[0])]).rows] == ["combined"]


def test_an_unfinished_run_is_missing_for_the_gate(suite: Suite, tmp_path: Path) -> None:
    (store,) = run(suite, tmp_path, "base", name="nightly")
    manifest = store.manifest()
    manifest.status = "running"
    store.write_manifest(manifest)
    gate = tmp_path / "gate.toml"
    gate.write_text("[nightly.fake_image]\nmin = -1\n[base.fake_image]\nmin = -1\n")
    for runs in ("base", "nightly"):
        assert {one.method: one.status for one in check(runs, gate, results=tmp_path)} == {
            "nightly": "missing",
            "base": "missing",
        }
