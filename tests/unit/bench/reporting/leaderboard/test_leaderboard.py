"""The leaderboard: records that can be checked, ranks, histories, links, and what it refuses."""

from __future__ import annotations

import csv
import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.analysis.compare import compare
from bench.analysis.several import compare_runs
from bench.analysis.summary import metric_interval
from bench.errors import UsageError
from bench.reporting.leaderboard.board import Entry, groups_of, ranks_of
from bench.reporting.leaderboard.record import file_name, read_record, record_of, run_of, to_text
from bench.reporting.report import report
from bench.store.records import ScoreRow
from bench.store.runs import Run, read_run
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[4] / "data" / "judging" / "fakes.py"))
make, MEANS = fakes["make"], fakes["MEANS"]
METRICS = ("pickscore", "lpips", "fid")
DAYS = ("2026-09-01T01:00:00+00:00", "2026-10-01T01:00:00+00:00")


def later(share: float) -> dict[str, float]:
    return {name: value + share * (MEANS["base"][name] - value) for name, value in MEANS["refl"].items()}


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nights of base and refl, the second with a report and refl nearer to base, and another suite."""
    folder = tmp_path_factory.mktemp("nights")
    for night, day in enumerate(DAYS):
        options: dict[str, Any] = {"prompts": 12, "samples": 2, "metrics": METRICS, "created": day}
        make(folder / f"night-{night}", "base", **options)
        make(folder / f"night-{night}", "refl", **options, means=later(0.5 * night))
    make(folder / "other", "base", prompts=9, samples=2, metrics=METRICS, suite="second", created=DAYS[0])
    (folder / "night-1" / "report").mkdir()
    (folder / "night-1" / "report" / "index.html").write_text("<html></html>")
    return folder


@pytest.fixture(scope="module")
def site(nights: Path) -> Path:
    bench.leaderboard([nights / "night-0", nights / "night-1", nights / "other"], nights / "site")
    return nights / "site"


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_a_record_is_the_run_again(nights: Path) -> None:
    for store_run in open_runs(nights / "night-0")[0]:
        again = run_of(record_of(store_run))
        for name in METRICS:
            assert metric_interval(again, name) == metric_interval(store_run, name)
        assert again.prompts == store_run.prompts
        assert again.conditions == store_run.conditions
        assert again.tidy()["value"].tolist() == pytest.approx(store_run.tidy()["value"].tolist(), nan_ok=True)


def test_a_value_that_there_is_not_keeps_its_reason(tmp_path: Path) -> None:
    store = make(tmp_path, "base", prompts=3, samples=2, metrics=("pickscore",))
    store.append_scores(
        "pickscore", [ScoreRow("p0001", 1, float("nan"), "cannot be decoded")], fakes["card"]("pickscore")
    )
    run = read_run(store)
    again = run_of(record_of(run))
    lost = again.rows("pickscore").query("value != value")
    assert lost["reason"].tolist() == ["cannot be decoded"]
    assert metric_interval(again, "pickscore") == metric_interval(run, "pickscore")


def test_the_newest_of_each_method_is_ranked_as_by_compare(nights: Path, site: Path) -> None:
    found = [row for row in rows(site / "leaderboard.csv") if row["suite"] == "shapes"]
    assert {row["created"] for row in found} == {DAYS[1]}
    several = compare_runs(open_runs(nights / "night-1")[0])
    expected = {
        (name.partition("@")[0], one.facts.name): ranks
        for one in several.metrics
        for name, ranks in zip(one.methods, one.ranks, strict=True)
    }
    assert {
        (row["method"], row["metric"]): (int(row["rank_best"]), int(row["rank_worst"])) for row in found
    } == expected
    alone = [row for row in rows(site / "leaderboard.csv") if row["suite"] == "second"]
    assert {row["rank_best"] for row in alone} == {""}


def test_the_history_has_every_run_and_the_paired_change(nights: Path, site: Path) -> None:
    history = [row for row in rows(site / "history.csv") if row["method"] == "refl" and row["metric"] == "lpips"]
    assert [row["created"] for row in history] == list(DAYS)
    old, new = (next(r for r in open_runs(nights / f"night-{n}")[0] if r.method == "refl") for n in (0, 1))
    change = next(one for one in compare(old, new).differences if one.facts.name == "lpips").interval
    assert [float(history[1][key]) for key in ("change", "change_low", "change_high")] == pytest.approx(
        [change.mean, change.low, change.high], rel=1e-5
    )
    assert change.mean > 0.05
    assert history[0]["change"] == ""


def test_the_page_links_reports_and_runs_no_script(nights: Path, site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="../night-1/report/index.html"' in text
    assert "<script" not in text
    assert str(nights) not in text
    assert text.count("<svg") == 2 * 3  # two methods, three metrics
    for row in rows(site / "leaderboard.csv"):
        assert list((site / "records" / row["suite"]).glob(f"{row['run']}-*.json"))


def test_collected_records_make_the_same_site(site: Path, tmp_path: Path) -> None:
    bench.leaderboard([site], tmp_path / "again")
    for path in (site / "records").rglob("*.json"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(site)).read_bytes()

    def without_source(folder: Path) -> list[dict[str, str]]:
        return [
            {key: value for key, value in row.items() if key != "source"} for row in rows(folder / "leaderboard.csv")
        ]

    assert without_source(tmp_path / "again") == without_source(site)
    assert bench.check_records([site]) == (5, [])


def changed(site: Path, folder: Path, change: Callable[[dict[str, Any]], None], rename: str = "") -> list[str]:
    """The faults of a record with a change."""
    path = next(iter((site / "records" / "shapes").glob("refl@*.json")))
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    folder.mkdir(exist_ok=True)
    (folder / (rename or path.name)).write_text(json.dumps(data), encoding="utf-8")
    return bench.check_records([folder])[1]


FAULTS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda data: data["metrics"]["lpips"].update(mean=0.9), "lpips: mean is stated as 0.9, but its values give"),
    (lambda data: data["metrics"]["lpips"].update(ci_low=None), "lpips: ci_low is stated as None"),
    (lambda data: data["metrics"]["pickscore"]["values"][0].pop(), "pickscore: values must be 12 lines of 2"),
    (lambda data: data.update(created="2020-01-01T00:00:00+00:00"), "its sha256 does not fit its content"),
    (lambda data: data.update(created="yesterday"), "created: Invalid isoformat string: 'yesterday'"),
    (lambda data: data["prompts"][1].update(id="p0000"), "two prompts have one id"),
    (lambda data: data.update(run="../../etc@0"), "run: must be <method>@<hash>"),
    (lambda data: data.update(record_version=2), "record_version 2, this version reads 1"),
    (lambda data: data.update(samples=0), "samples: Input should be greater than or equal to 1"),
    (lambda data: data["metrics"]["lpips"]["card"].update(direction="up"), "lpips: the direction of its card must be"),
    (lambda data: data["metrics"]["lpips"]["card"].update(range="wide"), "sha256 does not fit"),
    (lambda data: data.update(extra=1), "extra: Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("change", "sentence"), FAULTS)
def test_a_record_that_is_not_what_it_says_is_found(
    site: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], sentence: str
) -> None:
    assert any(sentence in fault for fault in changed(site, tmp_path / "r", change))
    with pytest.raises(UsageError):
        bench.leaderboard([tmp_path / "r"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_files_are_named(site: Path, tmp_path: Path) -> None:
    assert changed(site, tmp_path / "a", lambda data: None, "other@0.json")[0].endswith(".json.") is False
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.json").write_text("{")
    (tmp_path / "b" / "y.json").write_text("[" * 100_000)
    (tmp_path / "b" / "z.json").write_text('{"hello": NaN}')
    found = bench.check_records([tmp_path / "b"])[1]
    assert ["not JSON" in fault or "not a record" in fault for fault in found] == [True] * 3
    for empty in (tmp_path, tmp_path / "nowhere"):
        shutil.rmtree(tmp_path / "a", ignore_errors=True)
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        with pytest.raises(UsageError, match="no records|no record or folder"):
            bench.leaderboard([empty], tmp_path / "out")


@pytest.mark.slow
def test_reports_and_leaderboards_do_not_overwrite_one_another(nights: Path, site: Path, tmp_path: Path) -> None:
    report(nights / "night-0", tmp_path / "report", n_resamples=20)
    with pytest.raises(UsageError, match="was not created by `bench leaderboard`"):
        bench.leaderboard([nights / "night-0"], tmp_path / "report")
    with pytest.raises(UsageError, match="was not created by `bench report`"):
        report(nights / "night-0", site, n_resamples=20)
    bench.leaderboard([nights / "other"], tmp_path / "board")
    bench.leaderboard([nights / "night-0"], tmp_path / "board")  # its own is replaced, old records with it
    assert {path.parent.name for path in (tmp_path / "board" / "records").rglob("*.json")} == {"shapes"}


def test_what_is_not_finished_or_of_another_protocol_is_said(tmp_path: Path) -> None:
    make(tmp_path, "base", prompts=9, samples=2, metrics=METRICS, created=DAYS[0])
    make(tmp_path, "refl", prompts=9, samples=2, metrics=METRICS, status="running", created=DAYS[0])
    odd = {"lpips": fakes["card"]("lpips", version="2")}
    make(tmp_path, "base", prompts=9, samples=2, metrics=METRICS, cards=odd, created=DAYS[1])
    bench.leaderboard([tmp_path], tmp_path / "board")
    text = (tmp_path / "board" / "index.html").read_text(encoding="utf-8")
    assert "(not finished)" in text
    assert "was computed differently, so not in the history" in text
    assert {row["metric"] for row in rows(tmp_path / "board" / "history.csv")} == {"pickscore", "fid"}


def entry(of: Run, folder: str, created: str = "", **changes: Any) -> Entry:
    return Entry(record_of(of).model_copy(update={"created": created, **changes}), folder, folders={folder})


def test_scores_of_others_and_other_weights_are_no_history(nights: Path) -> None:
    base, refl = sorted(open_runs(nights / "night-0")[0], key=lambda run: run.method)
    theirs = [entry(refl, "x", DAYS[0]), entry(refl, "x", DAYS[1], scored="elsewhere", run="refl@1")]
    (group,) = groups_of([entry(base, "x", DAYS[0]), *theirs])
    assert [one.method for one in group.newest] == ["base", "refl", "refl (scored elsewhere)"]
    assert not group.trends
    weights = [{"tuned": "a", "run": "refl@a"}, {"tuned": "b", "run": "refl@b"}]
    (group,) = groups_of([entry(refl, "x", day, **own) for day, own in zip(DAYS, weights, strict=True)])
    assert [one.method for one in group.newest] == ["refl@a", "refl@b"]
    assert {name for name, _ in ranks_of(group)} == {"refl@a", "refl@b"}
    assert not group.trends
    nightly = zip("xy", DAYS, weights, strict=True)
    (group,) = groups_of([entry(refl, folder, day, **own) for folder, day, own in nightly])
    assert [one.method for one in group.newest] == ["refl"]
    assert [point.entry.record.run for point in group.trends[0].points] == ["refl@a", "refl@b"]


def test_two_checkpoints_of_one_folder_are_two_lines_of_the_site(nights: Path, tmp_path: Path) -> None:
    refl = next(run for run in open_runs(nights / "night-0")[0] if run.method == "refl")
    both = [entry(refl, "x", DAYS[0], tuned=one, run=f"refl@{one}").record for one in "ab"]
    for folder, listed in (("old", both[:1]), ("all", both)):  # the first is found in the older folder before
        (tmp_path / folder).mkdir()
        for record in listed:
            (tmp_path / folder / file_name(record)).write_text(to_text(record), encoding="utf-8")
    bench.leaderboard([tmp_path / "old", tmp_path / "all"], tmp_path / "site")
    assert {row["method"] for row in rows(tmp_path / "site" / "leaderboard.csv")} == {"refl@a", "refl@b"}


def test_dates_are_compared_as_instants(nights: Path) -> None:
    run = open_runs(nights / "night-0")[0][0]
    times = ("", "2026-11-28T10:00:00+02:00", "2026-11-28T09:00:00+00:00")
    ordered = sorted([entry(run, "x", time) for time in reversed(times)], key=lambda one: one.age)
    assert tuple(one.record.created for one in ordered) == times


def test_untrusted_names_are_text(tmp_path: Path) -> None:
    make(tmp_path, "<b>odd</b>", prompts=9, samples=2, metrics=METRICS, means=MEANS["refl"], created=DAYS[0])
    bench.leaderboard([tmp_path], tmp_path / "board")
    text = (tmp_path / "board" / "index.html").read_text(encoding="utf-8")
    assert "<b>odd" not in text
    assert "&lt;b&gt;odd" in text
    path = next(iter((tmp_path / "board" / "records").rglob("*.json")))
    assert read_record(path).record.method == "<b>odd</b>"
