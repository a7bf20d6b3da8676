"""`bench study report` and the page's section: the same numbers everywhere, untrusted text stays text, 80 columns."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.reporting.report import report
from bench.reporting.study_plot import study_figure
from bench.reporting.study_report import StudyReport, study_report
from bench.reporting.study_tables import Grid, _grid, markdown, text
from bench.store.select import open_runs
from bench.study.findings import findings
from bench.study.votes import Item, Vote
from tests.unit.bench.study.made import METHODS, items_of, simulated, with_checks, write_study

make = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))["make"]
FILES = {"report.md", "report.json", "study.png", "study.svg", "study.pdf"}


def both_tasks() -> tuple[list[Vote], dict[str, Item]]:
    preference, items = with_checks(simulated(raters=12, spammers=3), spammers=3)
    diversity = simulated(1, quality=(1.2, 0.0, 1.0), raters=12, task="diversity")
    return [*preference, *diversity], items


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    for method in METHODS:
        make(folder, method, metrics=("pickscore", "lpips"), prompts=10, samples=2)
    runs = {run.method: run for run in open_runs(folder)[0]}
    rows = [{"name": name, "run": runs[name].name, "path": str(runs[name].path)} for name in METHODS]
    ids = {f"p{n}": prompt_id for n, (prompt_id, _) in enumerate(runs["base"].prompts)}
    votes = [replace(vote, prompt_id=ids.get(vote.prompt_id, vote.prompt_id)) for vote in both_tasks()[0]]
    items = {name: replace(item, sample=0) for name, item in items_of(votes).items() if item.task == "preference"}
    items |= {name: item for name, item in items_of(votes).items() if name not in items}
    items |= {name: item for name, item in both_tasks()[1].items() if item.check is not None}
    write_study(folder / "study", votes, items, methods=rows, suite=runs["base"].suite)
    return folder


@pytest.fixture(scope="module")
def made(results: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyReport:
    return study_report(results / "study", tmp_path_factory.mktemp("out"), results=results)


@pytest.mark.slow
def test_all_files_are_written(made: StudyReport) -> None:
    assert {path.name for path in made.written} == FILES
    assert all(path.stat().st_size > 500 for path in made.written)


def test_the_text_fits_80_columns_and_has_the_numbers(made: StudyReport) -> None:
    assert max(map(len, made.text.splitlines())) <= 80
    for task in ("preference", "diversity"):
        for pair in made.findings.tasks[task].judged.pairs:
            mean = max(pair.rate.mean, 1 - pair.rate.mean)
            assert f"{mean:.2f} [" in made.text
    assert "Metrics against people" in made.text
    assert "Prediction-powered: base over" in made.text
    assert "everything that has a score has votes" in " ".join(made.text.split())


def test_json_has_the_same_numbers(made: StudyReport) -> None:
    data = json.loads(next(path for path in made.written if path.name == "report.json").read_text())
    for task, one in made.findings.tasks.items():
        for row, pair in zip(data["tasks"][task]["pairs"], one.judged.pairs, strict=True):
            assert (row["method"], row["over"]) == (pair.a, pair.b)
            assert row["win_rate"]["mean"] == pair.rate.mean
            assert row["wins"] + row["ties"] + row["losses"] == pair.votes
    assert [row["rater"] for row in data["raters"] if row["marked"]] == list(made.findings.raters.marked)
    assert data["tasks"]["preference"]["metrics"][0]["metric"] == "pickscore"
    assert data["tasks"]["diversity"]["metrics"][0]["metric"] == "lpips"


def test_fonts_of_the_pdf_are_type_42(made: StudyReport) -> None:
    data = next(path for path in made.written if path.name == "study.pdf").read_bytes()
    assert b"/Type3" not in data
    assert b"/TrueType" in data or b"/CIDFontType2" in data


def test_the_plot_has_people_on_both_axes(made: StudyReport) -> None:
    (axes,) = study_figure(made.findings).axes
    assert "Diversity" in axes.get_xlabel()
    assert "Preference" in axes.get_ylabel()
    points = {
        (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() not in ("", "None", None)
    }
    tasks = made.findings.tasks
    assert points == {
        (tasks["diversity"].judged.methods[name].mean, tasks["preference"].judged.methods[name].mean)
        for name in METHODS
    }
    assert set(METHODS) <= {label.get_text() for label in axes.texts}


@pytest.mark.parametrize("length", [3, 18, 60])
def test_tables_of_long_names_fit_and_differ(length: int) -> None:
    rows = [
        (f"{'a' * length} over b{n}", f"{'m' * length}{n}", "0.31 [-0.06, 0.68]", "0.42 [0.04, 0.80]", "0.88")
        for n in (1, 2)
    ]
    lines = _grid(Grid("title", ("pair", "metric", "with scores", "votes alone", "weight"), tuple(rows), 2)).split("\n")
    assert max(map(len, lines)) <= 80
    assert lines[2] != lines[3]


def test_one_task_is_a_row_of_intervals() -> None:
    votes = simulated()
    (axes,) = study_figure(findings(votes, {})).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == sorted(METHODS, reverse=True)


@pytest.mark.parametrize("source", ["server", "simulated"])
def test_the_plot_says_whether_people_voted(source: str) -> None:
    """A picture travels without the notes of its report."""
    votes = [replace(vote, source=source) for vote in simulated()]
    texts = " ".join(text.get_text() for text in study_figure(findings(votes, {})).texts)
    assert ("What simulated raters say" in texts) is (source == "simulated")
    assert ("simulated raters (" in texts) is (source == "simulated")
    assert ("What people say" in texts) is (source == "server")


HOSTILE = "<script>alert(1)</script>|[x](http://x)\n# a"


def test_names_and_prompts_stay_text(tmp_path: Path) -> None:
    votes = [
        replace(v, method_b=HOSTILE, left=HOSTILE if v.left == "refl" else v.left, rater=f"{v.rater}\x1b[31m")
        for v in simulated(quality=(0.0, 0.3))
    ]
    found = findings(votes, {})
    shown = text(found)
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    page = markdown(found)
    assert "<script>" not in page
    assert "\n# a" not in page
    files = study_report(write_study(tmp_path / "study", votes)).written
    assert {path.name for path in files} == FILES
    assert files[0].parent == tmp_path / "study" / "report"


@pytest.mark.slow
def test_the_page_has_a_section_of_what_people_say(results: Path, tmp_path: Path) -> None:
    report(results, tmp_path / "with", n_resamples=50, gallery=0, study=results / "study")
    page = (tmp_path / "with" / "index.html").read_text()
    assert 'id="people"' in page
    assert "What people say" in page
    assert "which is not on this page" not in page
    report(results, tmp_path / "without", n_resamples=50, gallery=0)
    assert 'id="people"' not in (tmp_path / "without" / "index.html").read_text()


@pytest.mark.slow
def test_other_runs_than_the_page_shows_are_said(results: Path, tmp_path: Path) -> None:
    rows = [{"name": name, "run": f"{name}@00000000"} for name in METHODS]
    study = write_study(tmp_path / "study", simulated(), methods=rows)
    report(results, tmp_path / "out", n_resamples=50, gallery=0, study=study)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "people judged refl in the run refl@00000000, which is not on this page" in page


def test_a_study_of_another_suite_is_refused(results: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", simulated(), suite="elsewhere")
    with pytest.raises(UsageError, match="is of the suite elsewhere"):
        report(results, tmp_path / "out", study=study)


@pytest.mark.slow
def test_disagreements_come_with_their_pictures(tmp_path: Path) -> None:
    for method in ("base", "refl"):
        make(tmp_path, method, metrics=("pickscore",), prompts=4, samples=2, images=True)
    runs = {run.method: run for run in open_runs(tmp_path)[0]}
    rows = [{"name": name, "run": run.name, "path": str(run.path)} for name, run in runs.items()]
    scores = {name: run.rows("pickscore").set_index(["prompt_id", "sample"])["value"] for name, run in runs.items()}
    votes, items = [], {}
    for prompt_id, prompt in runs["base"].prompts:
        items[prompt_id] = Item(prompt_id, "preference", prompt_id, prompt, "base", "refl", sample=1)
        against = float(scores["base"][prompt_id, 1] < scores["refl"][prompt_id, 1])
        for rater in range(4):
            votes.append(Vote(prompt_id, "preference", f"r{rater}", prompt_id, "base", "refl", against, "base", 0, 1.0))
    study = write_study(tmp_path / "study", votes, items, methods=rows)
    report(tmp_path, tmp_path / "out", n_resamples=50, gallery=0, study=study)
    section = (tmp_path / "out" / "index.html").read_text().partition('id="people"')[2].partition("</section>")[0]
    assert "Where people and pickscore disagree most" in section
    assert section.count("<figure") == 2 * 4
    assert section.count("data:image/webp") == 2 * 4
    assert "4 of 4 votes for" in section
