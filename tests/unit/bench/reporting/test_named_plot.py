"""Plots for papers: the panels that are named, their width, fonts that journals take, names that can be read."""

from __future__ import annotations

import math
import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from bench.analysis.table.build import build
from bench.analysis.table.rows import Table
from bench.errors import UsageError
from bench.reporting import style
from bench.reporting.named_plot import PlotRequest, drawn_table, is_paired, named_figure, plot_files, plot_request
from bench.reporting.plots import pareto_figure, points_of
from bench.reporting.point_labels import reach
from bench.reporting.report import report
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make, MEANS = fakes["make"], fakes["MEANS"]
PAIR = ["x=lpips,y=pickscore"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Twelve methods and a sweep of six."""
    folder = tmp_path_factory.mktemp("plots")
    options: dict[str, Any] = {"prompts": 16, "samples": 2, "metrics": ("pickscore", "image_reward", "lpips")}
    base, refl = MEANS["base"], MEANS["refl"]
    for i, name in enumerate(["base", *(f"our-method-checkpoint-{1000 * k:05d}" for k in range(11))]):
        share = (i * 5 % 12) / 11
        make(folder, name, **options, means={k: base[k] + share * (refl[k] - base[k]) for k in base})
    for step in (5, 10, 15, 20, 25, 30):
        means = {k: refl[k] + (step / 35 + 0.1 * (k == "pickscore")) * (base[k] - refl[k]) for k in base}
        make(folder, f"combined[switch_step={step}]", **options, means=means)
    return build(open_runs(folder)[0], n_resamples=50)


def request(*plots: str, **options: Any) -> PlotRequest:
    made = plot_request(plots or PAIR, **options)
    assert made is not None
    return made


@pytest.mark.slow
def test_the_width_is_that_of_the_figure_and_every_pair_has_a_panel(table: Table) -> None:
    figure = named_figure(table, request(width="84mm"))
    assert figure.get_size_inches()[0] == pytest.approx(84 / 25.4)
    two = named_figure(table, request("x=lpips,y=pickscore", "x=lpips,y=image_reward"))
    assert two.get_size_inches()[0] == 7
    assert [axes.get_ylabel().splitlines()[0] for axes in two.axes] == [
        "PickScore (shapes) ↑",
        "ImageReward (shapes) ↑",
    ]
    assert named_figure(table, request()).get_size_inches()[0] == 3.3


def crossed(figure: Any, table: Table, pair: tuple[str, str]) -> tuple[int, list[str]]:
    """How many names stand beside points, and those that an error bar crosses."""
    facts = {one.name: one for one in table.metrics}
    renderer, (axes,) = figure.canvas.get_renderer(), figure.axes
    figure.canvas.draw()
    bars = []
    for _, x, y in points_of(table, facts[pair[0]], facts[pair[1]]):
        for ends in ([(reach(x)[0], y.mean), (reach(x)[1], y.mean)], [(x.mean, reach(y)[0]), (x.mean, reach(y)[1])]):
            bars.append(axes.transData.transform(ends))
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in axes.texts]
    hit = [
        name
        for name, box in boxes
        for (x0, y0), (x1, y1) in bars
        if min(box.x1, max(x0, x1)) - max(box.x0, min(x0, x1)) >= 0
        and min(box.y1, max(y0, y1)) - max(box.y0, min(y0, y1)) >= 0
    ]
    overlaps = [a for i, (a, box) in enumerate(boxes) for _, other in boxes[:i] if box.overlaps(other)]
    return len(boxes), hit + overlaps


@pytest.mark.slow
@pytest.mark.parametrize("values", ["means", "paired"])
def test_twelve_methods_and_a_sweep_of_six_can_be_read_in_a_column(table: Table, values: str) -> None:
    asked = request(values=values, width="3.3in")
    figure = named_figure(table, asked)
    drawn = drawn_table(table, asked)
    beside, covered = crossed(figure, drawn, ("lpips", "pickscore"))
    assert covered == []
    legend = [text.get_text() for one in figure.legends for text in one.get_texts()]
    assert beside + len(legend) == len(table.rows) == 18  # beside its point, or in the legend
    assert len(set(legend)) == len(legend)
    named = [text.get_text() for text in figure.axes[0].texts] + legend
    assert (
        len([name for name in named if name.startswith("our")]) == len({n for n in named if n.startswith("our")}) == 11
    )
    bottom = min(text.get_window_extent().y0 for one in figure.legends for text in one.get_texts()) if legend else 99
    small = figure.texts[-1].get_window_extent()
    assert bottom >= small.y1  # the legend stands above the small print
    assert small.x1 <= figure.bbox.x1


@pytest.mark.slow
def test_no_name_is_crossed_in_the_figure_of_every_report(table: Table) -> None:
    figure = pareto_figure(table)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for axes in figure.axes:
        boxes = [text.get_window_extent(renderer) for text in axes.texts]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_paired_values_are_the_differences_and_the_reference_is_zero(table: Table) -> None:
    asked = request(values="paired", methods=["base,combined"])
    drawn = drawn_table(table, asked)
    assert {row.run.method.partition("[")[0] for row in drawn.rows} == {"base", "combined"}
    assert len(drawn.rows) == 7
    assert drawn.rows[0].cells["lpips"].mean == 0
    assert math.isnan(drawn.rows[0].cells["lpips"].low)
    one = next(d for d in table.differences[drawn.rows[1].name] if d.facts.name == "lpips")
    assert drawn.rows[1].cells["lpips"] == one.interval
    axes = named_figure(table, asked).axes[0]
    assert axes.get_xlabel().endswith("Δ to base")
    assert is_paired(table, request())  # the noise is shared
    assert not is_paired(table, request(values="means"))


@pytest.mark.slow
def test_fonts_are_type_42(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plot_files(table, request())
    assert set(made) == {"plot.png", "plot.svg", "plot.pdf"}
    kinds = set(re.findall(rb"/Subtype /(Type3|Type0|CIDFontType2|TrueType|Type1)\\b", made["plot.pdf"]))
    assert b"/FontFile2" in made["plot.pdf"]
    assert b"Type3" not in kinds
    assert kinds <= {b"Type0", b"CIDFontType2", b"TrueType"} != set()
    monkeypatch.setitem(style.RC, "pdf.fonttype", 3)
    figure = Figure()
    figure.text(0.5, 0.5, "fonts")
    assert b"/Subtype /Type3" in style.drawn(figure, "pdf")  # the check can fail


@pytest.mark.slow
def test_the_title_can_be_left_out(table: Table) -> None:
    assert any("Shapes" in text.get_text() for text in named_figure(table, request()).texts)
    assert not any("Shapes" in text.get_text() for text in named_figure(table, request(title=False)).texts)


@pytest.mark.parametrize(
    ("plots", "options", "sentence"),
    [
        (["lpips,hpsv2.1"], {}, "--plot 'lpips,hpsv2.1' must be x=METRIC,y=METRIC"),
        (["x=lpips"], {}, "must be x=METRIC,y=METRIC"),
        (["x=lpips,y="], {}, "must be x=METRIC,y=METRIC"),
        (PAIR, {"width": "wide"}, "--width 'wide' must be a length such as 3.3in"),
        (PAIR, {"width": "1e9in"}, "must be a length"),
        (PAIR, {"width": "0.1in"}, "must be between 2 and 20 inches"),
        (PAIR, {"values": "median"}, "unknown kind of values 'median'"),
        ([], {"width": "3.3in", "title": False}, "--width and --no-title shape a plot that is named: add --plot"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(plots: list[str], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        plot_request(plots, **options)


@pytest.mark.slow
def test_unknown_names_are_told_before_anything_is_written(table: Table, tmp_path: Path) -> None:
    for options in ({"plot": ["x=lpip,y=pickscore"]}, {"plot": PAIR, "methods": ["nobody"]}):
        with pytest.raises(UsageError, match="unknown (metric|method)"):
            report(table.rows[0].run.path.parents[2], tmp_path / "out", n_resamples=50, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_costs_are_axes(table: Table) -> None:
    """As they were counted, without intervals, also beside differences; the cheaper is on the right."""
    asked = request("x=evaluations,y=pickscore")
    with pytest.raises(UsageError, match="no run has its evaluations on record: they are counted where images are"):
        named_figure(table, asked)
    with pytest.raises(UsageError, match="evaluations"):
        named_figure(table, request("x=evaluation,y=pickscore"))
    counts = {"images_generated": 32, "network_evaluations_needed": 32 * 80}
    rows = [
        replace(row, run=replace(row.run, counts=counts if row.name != "base" else counts | {"images_generated": 16}))
        for row in table.rows[:4]
    ]
    costly = replace(table, rows=(*rows, *table.rows[4:6]), curves=())
    for values in ("means", "paired"):
        shown = drawn_table(costly, request("x=evaluations,y=pickscore", values=values))
        assert {row.name: row.cells["evaluations"].mean for row in shown.rows if "evaluations" in row.cells} == {
            row.name: 160.0 if row.name == "base" else 80.0 for row in rows
        }
        (axes,) = named_figure(costly, request("x=evaluations,y=pickscore", values=values)).axes
        assert axes.get_xlabel() == "Network evaluations per image ↓"
        assert axes.get_xlim()[0] > axes.get_xlim()[1]
    text = " ".join(one.get_text() for one in named_figure(costly, asked).texts).replace("\n", " ")
    assert "count each method alone" in text
    assert "and not shown: combined[switch_step=20], combined[switch_step=25]." in text
