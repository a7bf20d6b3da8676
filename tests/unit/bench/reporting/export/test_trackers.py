"""Trackers: Weights & Biases offline, MLflow's file store, trackio's folder; and one that fails fails nothing."""

from __future__ import annotations

import json
import logging
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import bench
from bench.analysis.summary import metric_interval
from bench.cli import main
from bench.errors import MissingError, UsageError
from bench.reporting.export import trackers
from bench.store.run_store import find_runs
from bench.store.runs import read_run

fakes = runpy.run_path(str(Path(__file__).parents[4] / "data" / "judging" / "fakes.py"))
FORMULA = "=1+1 a red circle"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for method in ("base", "refl"):
        fakes["make"](
            tmp_path / "results", method, prompts=8, samples=2, metrics=("pickscore", "lpips"), texts={1: FORMULA}
        )
    return tmp_path / "results"


def means(results: Path) -> dict[str, dict[str, float]]:
    runs = [read_run(store) for store in find_runs(results)]
    return {run.method: {name: metric_interval(run, name).mean for name in run.metrics} for run in runs}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_mlflow_has_parameters_values_table_and_plot_once(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: pip install 'imagerefl-bench[mlflow]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    assert bench.track(results, "mlflow", results=results) == 2
    assert bench.track(results, "mlflow", results=results) == 2  # finds its runs again
    experiment = mlflow.get_experiment_by_name("imagerefl-bench")
    found = {run.info.run_name: run for run in mlflow.search_runs([experiment.experiment_id], output_format="list")}
    assert set(found) == {"base", "refl"}
    for method, values in means(results).items():
        run = found[method]
        assert run.data.metrics["lpips/mean"] == pytest.approx(values["lpips"])
        assert run.data.metrics["lpips/ci_low"] < values["lpips"] < run.data.metrics["lpips/ci_high"]
        assert (run.data.metrics["pickscore/n"], run.data.metrics["pickscore/n_unscored"]) == (16.0, 0.0)
        assert (run.data.params["suite"], run.data.params["prompts"]) == ("shapes", "8")
        assert run.data.params["trained_on"] == ("pickscore" if method == "refl" else "")
        folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id))
        table = (folder / "values.csv").read_text(encoding="utf-8")
        assert len(table.splitlines()) == 1 + 8 * 2 + 8
        assert f"'{FORMULA}" in table
        assert any(path.read_bytes().startswith(b"\x89PNG") for path in folder.glob("*.png"))


def test_mlflow_takes_names_of_the_official_protocol() -> None:
    assert trackers._mlflow_name("hpsv2.1@official/mean") == "hpsv2.1_official/mean"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_wandb_offline_has_the_run(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed: pip install 'imagerefl-bench[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    assert bench.track("base", "wandb", results=results) == 1
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert folder.name.endswith(
        "shapes-" + next(s.name for s in find_runs(results) if "base" in s.name).replace("@", "-")
    )
    log = next(folder.glob("run-*.wandb")).read_bytes()  # its records hold names and values as text
    for name, value in means(results)["base"].items():
        assert re.search(rf"{name}/mean.{{1,9}}{re.escape(json.dumps(value))}".encode(), log, re.DOTALL)
    table = json.loads(next(folder.rglob("values*.table.json")).read_text())
    assert len(table["data"]) == 8 * 2 + 8
    assert {"metric", "prompt_id", "sample", "value", "prompt"} <= set(table["columns"])
    assert next(folder.rglob("pareto*.png")).read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_trackio_keeps_the_run_in_its_folder(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio", reason="trackio is not installed (it asks for pillow below 13)")
    assert bench.track("base", "trackio", results=results) == 1
    (run,) = trackio.Api().runs("imagerefl-bench")
    assert run.name.startswith("shapes-base-")


class Recorder(ModuleType):
    """A tracker with wandb's interface that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.given: list[dict[str, Any]] = []
        self.fails = 0

    def init(self, **settings: Any) -> Any:
        if len(self.given) == self.fails - 1:
            raise RuntimeError("no network\nat all")
        self.given.append(settings)
        recorder = self

        class Run:
            summary: dict[str, Any] = settings

            def log(self, media: dict[str, Any]) -> None:
                recorder.given[-1]["media"] = media

            def log_artifact(self, files: Any) -> None:
                recorder.given[-1]["files"] = files

            def finish(self) -> None:
                recorder.given[-1]["finished"] = True

        return Run()

    class Image(str):
        """A picture by its path."""

    @staticmethod
    def Table(dataframe: Any) -> Any:
        return dataframe

    class Artifact:
        """Files by their paths."""

        def __init__(self, name: str, type: str) -> None:
            self.name, self.paths = name, []

        def add_file(self, path: str) -> None:
            self.paths.append(Path(path).name)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setitem(sys.modules, "wandb", made)
    monkeypatch.setattr(trackers, "_installed", lambda name: True)
    return made


@pytest.mark.slow
def test_a_report_is_a_run_of_its_own_with_its_files(results: Path, recorder: Recorder) -> None:
    assert main(["report", "--results", str(results), "--gallery", "0", "--track", "wandb"]) == 0
    assert [one["name"] for one in recorder.given] == ["base", "refl", "report of shapes"]
    report = recorder.given[-1]
    assert {"index.html", "table.md", "table.csv", "scores.csv"} <= set(report["files"].paths)
    assert "pareto" in report["media"]
    assert len(report["media"]["table"]) > 0
    assert all(one["finished"] for one in recorder.given)
    assert str(results) not in json.dumps([one["config"] for one in recorder.given])


@pytest.mark.slow
def test_a_tracker_that_fails_is_one_warning(
    results: Path, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.fails = 2
    with caplog.at_level(logging.WARNING):
        assert bench.track(results, "wandb", results=results) == 1
    said = [record.message for record in caplog.records if "wandb" in record.message]
    assert said == ["wandb did not take the runs (no network at all); they are finished all the same"]
    assert main(["report", "--results", str(results), "--gallery", "0", "--track", "wandb"]) == 0


def test_what_is_unknown_or_absent_is_said_before_the_work(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="unknown tracker 'wandbb'"):
        bench.track(results, "wandbb", results=results)
    monkeypatch.setattr(trackers, "_installed", lambda name: False)
    with pytest.raises(MissingError, match=r"pip install 'imagerefl-bench\[mlflow\]'"):
        bench.track(results, "mlflow", results=results)
    for command in (["report"], ["run", "--method", "base"], ["score"]):
        assert main([*command, "--track", "wandb", "--results", str(results)]) == 4
        assert "--track wandb needs the package wandb" in capsys.readouterr().err
    assert not (results / "report").exists()


def test_the_way_to_trackio_is_the_one_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package wants an older Pillow, so that there is no extra: the sentence has the command that works."""
    monkeypatch.setattr(trackers, "_installed", lambda name: False)
    with pytest.raises(MissingError) as caught:
        trackers.check_tracker("trackio")
    command = str(caught.value).partition("the package trackio: ")[2].removesuffix(" (docs/export.md)")
    assert command.startswith("pip install --no-deps trackio ")
    assert f"`{command}`" in (Path(__file__).parents[5] / "docs" / "export.md").read_text(encoding="utf-8")
