"""Which runs are joined by a line."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from bench.analysis.table.build import build
from bench.analysis.table.sweeps import curves
from bench.store.records import Manifest
from bench.store.run_store import RunStore
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[4] / "data" / "judging" / "fakes.py"))


def run(folder: Path, name: str, resolved: dict[str, object]) -> None:
    store: RunStore = fakes["make"](folder, name, prompts=2, metrics=("lpips",), means=fakes["MEANS"]["refl"])
    manifest = store.manifest()
    store.write_manifest(Manifest(**{**manifest.to_dict(), "resolved_method": {"name": name, **resolved}}))


def found(folder: Path) -> list[tuple[str, str, list[str]]]:
    table = build(open_runs(folder)[0], n_resamples=50)
    return [(curve.family, curve.parameter, [value for _, value in curve.members]) for curve in curves(table.rows)]


def test_a_sweep_and_the_method_at_its_own_setting_are_one_curve(tmp_path: Path) -> None:
    for step in (20, 35):
        run(
            tmp_path,
            f"combined[switch_step={step}]",
            {"schedule": {"kind": "step", "switch_step": step}, "weights": "w"},
        )
    run(tmp_path, "combined", {"schedule": {"kind": "step", "switch_step": 30}, "weights": "w"})
    run(tmp_path, "imagerefl", {"schedule": {"kind": "step", "switch_step": 30}, "weights": "v"})
    assert found(tmp_path) == [("combined", "switch_step", ["20", "30", "35"])]


def test_checkpoints_of_one_training_are_a_curve_by_their_number(tmp_path: Path) -> None:
    for step in (1000, 200, 50):
        name = f"refl[weights=/runs/a-7/step-{step}/unet]"
        run(
            tmp_path,
            name,
            {"schedule": {"kind": "constant", "value": 1}, "weights": f"/runs/a-7/step-{step}/unet"},
        )
    run(tmp_path, "refl", {"schedule": {"kind": "constant", "value": 1}, "weights": "shapes:refl"})
    assert found(tmp_path) == [("refl", "step", ["50", "200", "1000"])]
    run(tmp_path, "refl[weights=other/3]", {"schedule": {"kind": "constant", "value": 1}, "weights": "other/3"})
    assert found(tmp_path) == []  # weights of another kind are among them: no order is known


def test_evaluations_along_a_training_are_a_curve(tmp_path: Path) -> None:
    for update in (100, 20):
        resolved = {
            "schedule": {"kind": "constant", "value": 1.0},
            "weights": f"/out/refl/update-{update}",
            "settings": {"update": str(update)},
        }
        run(tmp_path, f"refl-training[update={update}]", resolved)
    assert found(tmp_path) == [("refl-training", "update", ["20", "100"])]


def test_two_parameters_make_a_curve_each_where_the_other_is_equal(tmp_path: Path) -> None:
    for step in (20, 30):
        for guidance in (1, 2):
            run(
                tmp_path,
                f"combined[switch_step={step},tuned_guidance={guidance}]",
                {"schedule": {"kind": "step", "switch_step": step}, "tuned_guidance": guidance},
            )
    assert found(tmp_path) == [
        ("combined", "switch_step", ["20", "30"]),
        ("combined", "switch_step", ["20", "30"]),
        ("combined", "tuned_guidance", ["1", "2"]),
        ("combined", "tuned_guidance", ["1", "2"]),
    ]


@pytest.mark.parametrize("settings", [("value=0.25", "value=0.5"), ("power=1", "power=1.5")])
def test_names_alone_are_enough(tmp_path: Path, settings: tuple[str, str]) -> None:
    for setting in settings:
        fakes["make"](tmp_path, f"aig[{setting}]", prompts=2, metrics=("lpips",), means=fakes["MEANS"]["refl"])
    assert found(tmp_path) == [("aig", settings[0].split("=")[0], [setting.split("=")[1] for setting in settings])]
