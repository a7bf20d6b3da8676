"""`bench.report`: the files, their determinism, groups of comparable runs, untrusted names, odd runs."""

from __future__ import annotations

import csv
import math
import runpy
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

import bench.reporting.report
from bench.analysis.table.build import build
from bench.analysis.table.rows import Table
from bench.errors import NotComparableError, UsageError
from bench.reporting.gallery import chosen_prompts, gallery_figure, sheet
from bench.reporting.plots import diversity_axes, pareto_figure, quality_axes
from bench.reporting.point_labels import point_names
from bench.reporting.report import report
from bench.reporting.style import looks
from bench.store.records import ScoreRow
from bench.store.runs import COLUMNS
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make, card = fakes["make"], fakes["card"]

FILES = {
    "index.html", "pareto.png", "pareto.svg", "pareto.pdf", "table.md", "table.csv", "table.tex", "differences.csv",
    "scores.csv", "gallery.png", "pairs.csv", "ranks.csv", "robust.csv", "profiles.csv",
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    for method in ("imagerefl", "refl", "combined", "base"):
        make(folder, method, prompts=6, samples=2, images=True)
    return folder


@pytest.fixture(scope="module")
def written(results: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of one report on them."""
    return report(results, tmp_path_factory.mktemp("new") / "folder" / "out", n_resamples=200)


@pytest.fixture(scope="module")
def table(results: Path) -> Table:
    return table_of(results)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a report's time: for tests of what is written, and not of the figures."""
    monkeypatch.setattr("bench.reporting.report._pictures", lambda table: {"pareto.svg": b"<svg/>"})


def table_of(results: Path) -> Table:
    return build(open_runs(results)[0], n_resamples=200)


@pytest.mark.slow
def test_all_files_are_written_and_named(written: list[Path]) -> None:
    out = written[0].parent
    assert {path.name for path in written} == FILES
    assert all(path.stat().st_size > 0 for path in written)
    with Image.open(out / "pareto.png") as picture:
        assert picture.width >= 1500
    assert ElementTree.parse(out / "pareto.svg").getroot().tag.endswith("svg")


@pytest.mark.slow
def test_equal_data_give_equal_bytes(results: Path, written: list[Path], tmp_path: Path) -> None:
    for one, other in zip(written, report(results, tmp_path, n_resamples=200), strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.slow
def test_files_of_an_earlier_report_that_no_longer_hold_go_away(written: list[Path], tmp_path: Path) -> None:
    out = shutil.copytree(written[0].parent, tmp_path / "out")
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    alone = make(tmp_path / "r", "refl", prompts=6, samples=2)
    again = report(alone, out, n_resamples=100)
    left = {path.name for path in out.iterdir() if path.is_file()}
    assert left == {path.name for path in again} | {"notes.txt"}
    assert {"differences.csv", "gallery.png"}.isdisjoint(left)


@pytest.mark.slow
def test_methods_and_metrics_come_in_the_order_readers_expect(table: Table) -> None:
    assert [row.name for row in table.rows] == ["base", "refl", "combined", "imagerefl"]
    assert [facts.kind for facts in table.metrics] == ["image"] * 4 + ["group"] * 3 + ["set"]
    assert table.reference == "base"
    assert set(table.differences) == {"refl", "combined", "imagerefl"}


def test_quality_is_held_out_first_then_the_training_reward(table: Table) -> None:
    assert [(facts.name, role) for facts, role in quality_axes(table)] == [
        ("image_reward", "held out"),
        ("pickscore", "training reward"),
    ]
    assert [facts.name for facts in diversity_axes(table)] == ["lpips", "dreamsim", "attribute_entropy"]


def test_the_label_is_on_every_axis_and_in_the_title(table: Table) -> None:
    figure = pareto_figure(table)
    assert len(figure.axes) == 6
    assert all("(shapes)" in axes.get_xlabel() for axes in figure.axes[3:])
    assert all("(shapes)" in figure.axes[i].get_ylabel() for i in (0, 3))
    assert any("(shapes)" in text.get_text() for text in figure.texts)


def test_names_beside_points_do_not_overlap(table: Table) -> None:
    figure = pareto_figure(table)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for axes in figure.axes:
        boxes = [text.get_window_extent(renderer) for text in axes.texts]
        assert len(boxes) == 4
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.mark.slow
def test_scores_csv_has_the_columns_of_load_results(written: list[Path]) -> None:
    with (written[0].parent / "scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == 4 * (4 * 12 + 3 * 6 + 1)


def test_named_runs_of_several_suites_are_not_comparable(tmp_path: Path) -> None:
    a = make(tmp_path, "base", prompts=3, metrics=("lpips",))
    b = make(tmp_path, "refl", prompts=3, metrics=("lpips",), suite="night")
    with pytest.raises(NotComparableError, match=r"suite differs: (shapes against night|night against shapes)"):
        report([a.path, b.path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_figures")
def test_unfinished_runs_are_named_in_the_report_of_their_suite(tmp_path: Path) -> None:
    make(tmp_path / "r", "base", prompts=3, metrics=("lpips",))
    make(tmp_path / "r", "base", prompts=3, metrics=("lpips",), suite="night")
    lost = make(tmp_path / "r", "refl", prompts=3, metrics=("lpips",), suite="night", status="running")
    report(tmp_path / "r", tmp_path / "out", n_resamples=100)
    texts = {one.parent.name: one.read_text(encoding="utf-8") for one in (tmp_path / "out").glob("*/table.md")}
    assert f"left out: {lost.name} (not finished)" in texts["night"]
    assert lost.name not in texts["shapes"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_several_suites_get_a_folder_each(results: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "other", "base", suite="night", prompts=3)
    written = report([results, other], tmp_path / "out", n_resamples=100)
    assert {path.parent.name for path in written} == {"shapes", "night"}
    only = report([results, other], tmp_path / "one", suite="night", n_resamples=100)
    assert {path.parent.name for path in only} == {"one"}
    with pytest.raises(UsageError, match="unknown suite 'nigth'. Did you mean 'night'"):
        report([results, other], tmp_path / "x", suite="nigth")


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_runs_that_are_not_comparable(tmp_path: Path, said: list[str]) -> None:
    runs = [make(tmp_path / "r", "base", prompts=3), make(tmp_path / "r", "refl", prompts=4)]
    with pytest.raises(NotComparableError, match="prompts differ: 3 against 4") as error:
        report(runs, tmp_path / "strict")
    assert error.value.exit_code == 3
    assert not (tmp_path / "strict").exists()
    report(tmp_path / "r", tmp_path / "out", n_resamples=100)
    assert any(line.startswith("excluded from the report: base@") for line in said)
    assert "left out: base@" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    report(runs, tmp_path / "asked", comparable_only=True, n_resamples=100)
    with pytest.raises(NotComparableError):
        report(tmp_path / "r", tmp_path / "no", comparable_only=False)


@pytest.mark.slow
def test_one_run_alone_one_image_each_and_no_base(tmp_path: Path) -> None:
    store = make(tmp_path, "refl", prompts=1, samples=1, metrics=("image_reward", "fid"))
    store.append_scores("lpips", [ScoreRow("p0000", None, math.nan, "one image")], card("lpips"))
    written = report(store, tmp_path / "out")
    assert "gallery.png" not in {path.name for path in written}
    text = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "no run of method base" in text
    assert "one image per prompt: diversity cannot be scored" in text
    assert "| refl | " in text
    assert "1 of 1 values unscored, for instance: one image" in text


@pytest.mark.parametrize("metrics", [("image_reward",), ("lpips",), ("image_reward", "fid"), ()])
def test_plots_of_few_metrics(tmp_path: Path, metrics: tuple[str, ...]) -> None:
    for method in ("base", "refl"):
        make(tmp_path, method, prompts=3, metrics=metrics)
    figure = pareto_figure(table_of(tmp_path))
    assert len(figure.axes) == (1 if len(metrics) == 2 else 0)
    if figure.axes:
        low, high = figure.axes[0].get_xlim()
        assert low > high  # FID runs backwards: better is to the right


@pytest.mark.slow
def test_untrusted_names_and_prompts_are_only_text(tmp_path: Path) -> None:
    odd = r"$\frac{1}$ <b>|_*" + "\u4e2d"
    for method in ("base", odd):
        make(
            tmp_path / "r",
            method,
            prompts=3,
            images=True,
            means=fakes["MEANS"]["refl"],
            text=odd.replace("{1}", "") + "{}",
        )
    report(tmp_path / "r", tmp_path / "out", n_resamples=100)
    markdown = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "<b>" not in markdown
    assert r"\$\\frac{1}\$ &lt;b&gt;\|\_\*" in markdown
    assert r"\$\textbackslash{}frac\{1\}\$ \textless{}b\textgreater{}\textbar{}\_*" in (
        tmp_path / "out" / "table.tex"
    ).read_text(encoding="utf-8")


@pytest.mark.slow
def test_sweeps_are_ordered_by_setting_and_named_briefly(tmp_path: Path) -> None:
    for step in (20, 5, 30):
        make(tmp_path, f"combined[switch_step={step}]", prompts=3, means=fakes["MEANS"]["combined"])
    make(tmp_path, "combined", prompts=3)
    table = table_of(tmp_path)
    assert [row.setting for row in table.rows] == ["", "switch_step=5", "switch_step=20", "switch_step=30"]
    assert list(point_names(table).values()) == ["combined", "combined switch_step=5", "20", "30"]
    assert len(set(looks([row.name for row in table.rows]).values())) == 1


def test_gallery_marks_missing_and_broken_images_and_goes_on(results: Path, tmp_path: Path) -> None:
    store = make(tmp_path, "base", prompts=5, samples=2, images=True)
    store.image_path("p0001", 0).write_bytes(b"not a picture")
    store.image_path("p0001", 1).unlink()
    table = table_of(tmp_path)
    pixels = sheet(table.rows, "p0001", 2)
    assert pixels.std(axis=(0, 1)).max() < 60
    assert len(chosen_prompts(table)) == 4
    assert chosen_prompts(table)[0][0] == "p0000"
    assert gallery_figure(table) is not None


def test_empty_results_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished runs in .*: (make|create) some with `bench run"):
        report(tmp_path, tmp_path / "out")


def test_runs_that_are_at_work_are_named(tmp_path: Path) -> None:
    store = make(tmp_path, "refl", prompts=2, samples=1, metrics=())
    manifest = store.manifest()
    manifest.status = "running"
    store.write_manifest(manifest)
    with pytest.raises(UsageError, match=f"{store.name} is not finished yet: let the `bench run` that began"):
        report(tmp_path, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_the_package_can_be_called_like_its_function(results: Path, tmp_path: Path) -> None:
    assert bench.report(results, tmp_path, n_resamples=100)  # type: ignore[operator]
