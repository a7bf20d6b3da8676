"""The first screen in words: who gains what, who pays what, what cannot be told, and how sure that is."""

from __future__ import annotations

import math
import re
import runpy
from pathlib import Path

import pytest

from bench.analysis.differences import LEAST_PROMPTS
from bench.analysis.stats import Interval
from bench.analysis.table.build import build
from bench.analysis.table.rows import Table
from bench.reporting.cells import DAGGER, MINUS, decimals
from bench.reporting.findings import findings_of
from bench.reporting.headline import SHOWN, headline, headline_markdown, headline_section
from bench.reporting.latex import latex
from bench.reporting.point_labels import brief_names
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make, MEANS = fakes["make"], fakes["MEANS"]


def table_of(folder: Path, means: dict[str, dict[str, float]], prompts: int = 32) -> Table:
    for name, own in means.items():
        make(folder, name, prompts=prompts, samples=2, means=own)
    return build(open_runs(folder)[0], n_resamples=50)


def test_a_sentence_says_what_the_table_of_differences_marks(tmp_path: Path) -> None:
    same = {**MEANS["base"], "pickscore": 21.9, "lpips": 0.30}
    table = table_of(tmp_path, {"base": MEANS["base"], "refl": same})
    found = headline(table)
    (sentence,) = found.sentences
    parts = {part.words: [title for title, _, _ in part.items] for part in sentence.parts}
    by_metric = {one.facts.title: one for one in table.differences["refl"]}
    told = {name for words in parts for name in (title.replace(f" {DAGGER}", "") for title in parts[words])}
    assert told == {facts.title for facts in table.metrics}  # nothing is passed over
    assert f"PickScore {DAGGER}" in parts["surely gains"]
    assert "LPIPS diversity" in parts["surely pays"]
    for words, titles in parts.items():
        for title in titles:
            one = by_metric[title.replace(f" {DAGGER}", "")]
            expected = {"": "cannot be told", "a": "pays", "b": "gains"}[one.better]
            if words != "not compared":
                assert words.endswith(expected)
                assert words.startswith("surely") is one.sure
    assert parts["not compared"] == ["FID"]
    assert "(not estimable at N = 64)" in sentence.text
    assert "7 differences" in found.certainty  # FID has no test
    assert "over prompts only, and say nothing of training once more" in found.certainty
    assert found.lead == "All metrics are those of (shapes)."


def test_the_numbers_are_those_of_the_tables(tmp_path: Path) -> None:
    table = table_of(tmp_path, {"base": MEANS["base"], "refl": MEANS["refl"]})
    one = next(d for d in table.differences["refl"] if d.facts.name == "lpips")
    text = headline(table).sentences[0].text
    shown = re.search(r"LPIPS diversity (\S+) \[(\S+), (\S+)\]", text)
    assert shown is not None
    values = [float(part.replace(MINUS, "-")) for part in shown.groups()]
    assert values == pytest.approx([one.interval.mean, one.interval.low, one.interval.high], abs=0.0006)


@pytest.mark.slow
def test_who_may_be_the_best_is_that_of_all_pairs(tmp_path: Path) -> None:
    table = table_of(tmp_path, {name: MEANS[name] for name in ("base", "refl", "imagerefl")})
    findings = findings_of(table)
    lead = headline(table, findings).lead
    assert f"in PickScore is surely {'refl'}" in lead
    assert "in LPIPS diversity is surely base" in lead
    assert findings.several is not None
    assert {one.facts.name: one.maybe_best for one in findings.several.metrics}["lpips"] == ("base",)


def test_the_best_is_told_only_of_what_was_compared(tmp_path: Path) -> None:
    make(tmp_path, "base", metrics=("lpips",))
    make(tmp_path, "refl", metrics=("pickscore", "lpips"))
    make(tmp_path, "imagerefl", metrics=("lpips",))
    table = build(open_runs(tmp_path)[0], n_resamples=50)
    assert "PickScore" not in headline(table, findings_of(table)).lead
    make(tmp_path, "base", metrics=("pickscore",))
    table = build(open_runs(tmp_path)[0], n_resamples=50)
    lead = headline(table, findings_of(table)).lead
    assert "in PickScore is surely refl (of those scored);" in lead
    assert "in LPIPS diversity is surely base." in lead


def test_of_few_prompts_nothing_is_sure(tmp_path: Path) -> None:
    found = headline(table_of(tmp_path, {"base": MEANS["base"], "refl": MEANS["refl"]}, prompts=4))
    assert not any(part.words.startswith("surely") for one in found.sentences for part in one.parts)
    assert f"Nothing is sure here: that needs {LEAST_PROMPTS} prompts" in found.certainty


def test_one_method_is_compared_with_nothing_and_that_is_said(tmp_path: Path) -> None:
    table = table_of(tmp_path, {"base": MEANS["base"]})
    assert headline(table).lead == "One method: there is nothing to compare it with."
    assert headline_markdown(table, None) == ["One method: there is nothing to compare it with.", ""]


def test_a_metric_that_one_side_lacks_is_named(tmp_path: Path) -> None:
    make(tmp_path, "base", prompts=8, metrics=("pickscore", "lpips"))
    make(tmp_path, "refl", prompts=8, metrics=("pickscore", "lpips", "dreamsim"))
    text = headline(build(open_runs(tmp_path)[0], n_resamples=50)).sentences[0].text
    assert "not compared: DreamSim diversity (not scored for both)" in text


@pytest.mark.slow
def test_the_first_screen_has_one_setting_of_each_sweep_first(tmp_path: Path) -> None:
    names = ["base", "refl", "imagerefl", *(f"combined[switch_step={step}]" for step in (10, 20, 30))]
    table = table_of(tmp_path, {name: MEANS[name.partition("[")[0]] for name in names}, prompts=8)
    filled = headline_section(table, None)
    assert [one.name for one in filled["shown"]] == ["refl", "combined[switch_step=10]", "imagerefl"]
    assert len(filled["shown"]) + len(filled["folded"]) == 5 > SHOWN


def test_a_column_with_limits_open_on_one_side_has_digits() -> None:
    """A sweep read at equal reward has such limits: the report of a sweep of five settings stopped here."""
    assert decimals([Interval(0.1, -math.inf, 0.2, 9), Interval(0.1, 0.05, math.inf, 9)]) == 4
    assert decimals([Interval(0.1, 0.05, 0.15, 9), Interval(0.1, -math.inf, 0.2, 9)]) == 3


def test_a_label_that_a_title_has_itself_is_said_once(tmp_path: Path) -> None:
    named = {"pickscore": fakes["card"]("pickscore", title="PickScore (shapes)")}
    for name in ("base", "refl"):
        make(tmp_path, name, prompts=8, samples=1, metrics=("pickscore",), cards=named)
    table = build(open_runs(tmp_path)[0], n_resamples=20)
    found = headline(table)
    assert found.lead == "All metrics are those of (shapes)."
    assert "(shapes)" not in found.sentences[0].text
    assert latex(table).count("(shapes)") == 2  # the captions
    assert "PickScore $" in latex(table)


def test_ten_checkpoints_get_ten_labels() -> None:
    names = [f"our-method-with-a-long-name-step-{step:05d}" for step in range(0, 5000, 500)]
    made = brief_names(names)
    assert len(set(made)) == 10
    assert all(len(name) == 27 and name.endswith(full[-5:]) for name, full in zip(made, names, strict=True))
    middles = [f"{'a' * 20}-{i}-{'b' * 20}" for i in range(10)]  # they differ where the cut would be
    assert len(set(brief_names(middles))) == 10
    assert brief_names(["base", "refl"]) == ["base", "refl"]
