"""The gate: verdicts, exit codes, baseline, JUnit, and mistakes in the files."""

from __future__ import annotations

import dataclasses
import json
import math
import runpy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import bench.gate.check
from bench.errors import NotComparableError, UsageError
from bench.gate.baseline import baseline_of
from bench.gate.check import check
from bench.gate.junit import junit
from bench.gate.text import verdicts_text
from bench.gate.thresholds import parse_thresholds
from bench.gate.verdict import exit_code, judge

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make, card = fakes["make"], fakes["card"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "results"
    for method in ("base", "refl"):
        make(folder, method, prompts=12, metrics=("pickscore", "lpips", "dreamsim", "fid"))
    return folder


def gate(results: Path, text: str, baseline: dict[str, Any] | None = None) -> list[bench.gate.check.Verdict]:
    path, before = results.parent / "gate.toml", results.parent / "baseline.json"
    path.write_text(text, encoding="utf-8")
    before.write_text(json.dumps(baseline), encoding="utf-8")
    return check(results, path, before if baseline is not None else None)


@pytest.mark.parametrize(
    ("low", "value", "high", "bound", "at_least", "wanted"),
    [
        (1.0, 2.0, 3.0, 0.5, True, "passed"),
        (1.0, 2.0, 3.0, 1.0, True, "passed"),
        (1.0, 2.0, 3.0, 1.5, True, "undecided"),
        (1.0, 2.0, 3.0, 2.5, True, "undecided"),
        (1.0, 2.0, 3.0, 3.5, True, "failed"),
        (1.0, 2.0, 3.0, 3.0, False, "passed"),
        (1.0, 2.0, 3.0, 2.5, False, "undecided"),
        (1.0, 2.0, 3.0, 0.5, False, "failed"),
        (-math.inf, 2.0, 3.0, 1.0, True, "undecided"),
        (1.0, 2.0, math.inf, 1.0, True, "passed"),
        (1.0, 2.0, math.inf, 0.5, False, "failed"),
        (math.nan, 2.0, math.nan, 2.0, True, "undecided"),
        (math.nan, 2.0, math.nan, 2.1, True, "failed"),
        (math.nan, 2.0, math.nan, 2.1, False, "undecided"),
        (math.nan, 2.0, math.nan, 1.9, False, "failed"),
        (math.nan, math.nan, math.nan, 0.0, True, "missing"),
    ],
)
def test_judge(low: float, value: float, high: float, bound: float, at_least: bool, wanted: str) -> None:
    assert judge(low, value, high, bound, at_least) == wanted


def test_verdicts_in_the_order_of_the_file(results: Path) -> None:
    found = gate(
        results,
        "[base.lpips]\nmin = 0.1\nmax = 0.41\n[refl.lpips]\nmin = 0.4\n"
        "[refl.kid]\nmax = 1\n[imagerefl.lpips]\nmin = 0\n",
    )
    assert [(one.method, one.metric, one.rule, one.status, one.line) for one in found] == [
        ("base", "lpips", "min", "passed", 2),
        ("base", "lpips", "max", "undecided", 3),
        ("refl", "lpips", "min", "failed", 5),
        ("refl", "kid", "max", "missing", 7),
        ("imagerefl", "lpips", "min", "missing", 9),
    ]
    assert "not scored with kid" in found[3].message
    assert "no finished run of method imagerefl" in found[4].message
    assert "1 passed, 1 undecided, 1 failed, 2 missing" in verdicts_text(found)


def test_exit_codes(results: Path) -> None:
    passing, straddling = gate(results, "[base.lpips]\nmin = 0.1\n"), gate(results, "[base.lpips]\nmax = 0.41\n")
    failing, missing = gate(results, "[base.lpips]\nmin = 0.9\n"), gate(results, "[base.kid]\nmax = 1\n")
    assert [exit_code(one) for one in (passing, straddling, failing, missing)] == [0, 0, 1, 1]
    assert exit_code(straddling, strict=True) == 1


def test_drops_against_a_baseline_follow_the_direction(results: Path) -> None:
    before = baseline_of(results)
    for summary in before["summaries"]:
        for metric in summary["metrics"].values():
            metric.pop("prompt_means", None)  # as in a file of plain summaries
        for name, change in (("lpips", 0.2), ("fid", -5.0), ("pickscore", -3.0)):
            for key in ("mean", "ci_low", "ci_high"):
                if summary["metrics"][name][key] is not None:
                    summary["metrics"][name][key] += change
    text = "[base.{0}]\nmax_drop = {1}\n"
    rules = [("lpips", 0.02), ("fid", 1.0), ("pickscore", 0.1), ("dreamsim", 0.2), ("dreamsim", 0.001)]
    found = [gate(results, text.format(*rule), before)[0] for rule in rules]
    assert [one.status for one in found] == ["failed", "undecided", "passed", "passed", "undecided"]
    assert found[0].value == pytest.approx(0.2)
    assert found[1].value == pytest.approx(5.0)
    assert "not estimable at N = 60" in found[1].message
    with pytest.raises(
        UsageError, match=r"line 2: \[base.fid\] max_drop_percent cannot be judged: .*write max_drop of KID"
    ):
        gate(results, "[base.fid]\nmax_drop_percent = 40\n", before)


def test_prompt_means_in_the_baseline_make_drops_paired(results: Path) -> None:
    before = baseline_of(results)
    (same,) = gate(results, "[base.lpips]\nmax_drop = 0.001\n", before)
    assert (same.status, same.value, same.ci_high) == ("passed", 0.0, 0.0)
    for metric in before["summaries"][0]["metrics"].values():
        metric["prompt_means"] = {prompt: mean + 0.02 for prompt, mean in metric.get("prompt_means", {}).items()}
    (worse,) = gate(results, "[base.lpips]\nmax_drop = 0.005\n", before)
    assert (worse.status, worse.value) == ("failed", pytest.approx(0.02))


def test_baseline_of_another_kind_is_not_comparable(results: Path) -> None:
    text = "[base.lpips]\nmax_drop = 0.5\n"
    before = baseline_of(results)
    before["summaries"][0]["metrics"]["lpips"]["version"] = "0"
    found = gate(results, text, before)
    assert (found[0].status, exit_code(found)) == ("not_comparable", 3)
    assert "the metric was computed differently: version 0 against 1 (then against now)" in found[0].message
    before = baseline_of(results)
    before["summaries"][0]["prompts_digest"] = "other"
    assert gate(results, text, before)[0].status == "not_comparable"
    before["summaries"] = []
    assert gate(results, text, before)[0].status == "missing"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[base.lpips\nmin = 1\n", r"gate.toml is not valid TOML: .*line 1"),
        (
            "[base.lpips]\n# a comment\nmni = 1\n",
            r"line 3: \[base.lpips\] has an unknown key 'mni'. Did you mean 'min'\?",
        ),
        ("\n[bsae.lpips]\nmin = 1\n", r"line 2: unknown method 'bsae'. Did you mean 'base'\?"),
        ("[base.lpisp]\nmin = 1\n", r"line 1: unknown metric 'lpisp'. Did you mean 'lpips'\?"),
        ("[base.lpips]\nmin = 'x'\n", r"line 2: \[base.lpips\] min must be a number, not 'x'"),
        ("[base.lpips]\nmin = true\n", r"min must be a number, not True"),
        ("[base.lpips]\nmin = nan\n", r"min must be a number, not nan"),
        ("[base.lpips]\nmax_drop = -1\n", r"max_drop must not be negative"),
        ("min = 1\n", r"line 1: unexpected key 'min' outside of a table"),
        ("[base]\nmin = 1\n", r"unknown metric 'min'"),
        ("", r"has no thresholds"),
        ("[base.lpips]\nmin = 1" + "0" * 400 + "\n", r"line 2: \[base.lpips\] min must be a number, not 10{56}\.\.\.$"),
        ("[base.lpips]\nmin = " + "9" * 5000 + "\n", r"is not a thresholds file: Exceeds the limit"),
        ("a = " + "[" * 5000 + "]" * 5000, r"gate.toml is not a thresholds file: its values are nested too deeply"),
        ("suite = 3\n[base.lpips]\nmin=1\n", r"suite must be the name of a suite"),
        ("suite = 'sd15'\n[base.lpips]\nmin=1\n", r"applies to suite sd15, but all runs belong to shapes"),
        ("[base.lpips]\nmax_drop = 1\n", r"line 2: \[base.lpips\] max_drop needs a baseline"),
    ],
)
def test_mistakes_name_line_and_key(results: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        gate(results, text)


def test_a_metric_with_a_dot_needs_no_quotes() -> None:
    for head in ("[base.hpsv2.1]", '[base."hpsv2.1"]'):
        (bound,) = parse_thresholds(f"{head}\nmin = 0.2\n", "t", ["base"], ["hpsv2", "hpsv2.1"]).bounds
        assert (bound.metric, bound.value, bound.line) == ("hpsv2.1", 0.2, 2)
    both = parse_thresholds("[base.hpsv2]\nmin=0\n[base.hpsv2.1]\nmin=1\n", "t", ["base"], ["hpsv2", "hpsv2.1"]).bounds
    assert [(bound.metric, bound.line) for bound in both] == [("hpsv2", 2), ("hpsv2.1", 4)]


def baseline(**changes: Any) -> str:
    """A baseline file with something changed in its one summary, or in the entry of its one metric."""
    entry = {"mean": 0.4, "ci_low": 0.3, "ci_high": 0.5, "n": 12, "direction": "higher", "kind": "group"}
    own = {key: value for key, value in changes.items() if key not in ("method", "conditions", "metrics")}
    summary = {"suite": "shapes", "method": "base", "metrics": {"lpips": {**entry, **own}}}
    summary |= {key: value for key, value in changes.items() if key not in own}
    return json.dumps({"schema_version": 1, "summaries": [summary]})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 1 is not valid JSON"),
        ("[]", "is not a baseline file"),
        ("[" * 100_000, "nested too deeply"),
        ('{"schema_version": 1, "n": ' + "9" * 5000 + "}", "is not a baseline file: Exceeds the limit"),
        ('{"schema_version": 1, "summaries": {}}', "needs schema_version 2 and summaries"),
        ('{"schema_version": 1, "summaries": [3]}', "summary 1 must be a table"),
        ('{"schema_version": 1, "summaries": [{}]}', "summary 1 needs suite, a string"),
        (baseline(method=["a"]), "summary 1 needs method, a string"),
        (baseline(conditions=["sampler"]), "summary 1 has conditions that are not a table"),
        (baseline(metrics=3), "summary 1 needs metrics, a table"),
        (baseline(metrics={"lpips": 3}), "a metric lpips that is not a table"),
        (baseline(mean=math.nan), "NaN is not valid JSON: write null for a missing value"),
        (baseline(mean=10**400), "lpips whose mean is neither a finite number nor null"),
        (baseline(ci_low="low"), "lpips whose ci_low is neither a finite number nor null"),
        (baseline(n=None), "lpips whose n is not a number"),
        (baseline(n_unscored=[]), "lpips whose n_unscored is not a number"),
        (baseline(prompt_means={"p0000": None}), "lpips whose prompt_means are not a table of finite numbers"),
        (baseline(prompt_means=[1.0]), "lpips whose prompt_means are not a table of finite numbers"),
        (baseline(left_out=[None, None]), "lpips whose left_out is not a list of finite numbers"),
        (baseline(card="x"), "lpips whose card is not a table"),
        (baseline(card={"settings": "x"}), "lpips whose card is not a table"),
        ('{"schema_version": 3, "summaries": []}', "newer than 2"),
    ],
)
def test_malformed_baselines(results: Path, content: str, message: str) -> None:
    path, gate_file = results.parent / "b.json", results.parent / "gate.toml"
    path.write_text(content, encoding="utf-8")
    gate_file.write_text("[base.lpips]\nmax_drop = 1\n", encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        check(results, gate_file, path)
    with pytest.raises(UsageError, match=r"the baseline file .*none\.json does not exist: make it .*--update-baseline"):
        check(results, gate_file, results / "none.json")
    with pytest.raises(UsageError, match="cannot read the thresholds"):
        check(results, results / "none.toml")


def test_runs_named_one_by_one_must_be_comparable(tmp_path: Path) -> None:
    runs = [make(tmp_path, "base", prompts=4).path, make(tmp_path, "refl", prompts=5).path]
    gate_file = tmp_path / "gate.toml"
    gate_file.write_text("[base.lpips]\nmin = 0\n", encoding="utf-8")
    with pytest.raises(NotComparableError, match="prompts differ"):
        check(runs, gate_file)
    (found,) = check(tmp_path, gate_file)  # the larger group has no base
    assert (found.status, exit_code([found])) == ("not_comparable", 3)
    assert "base@" in found.message
    assert "prompts differ: 5 against 4" in found.message


def test_junit_is_well_formed_whatever_the_names(results: Path) -> None:
    found = gate(results, "[base.lpips]\nmin = 0.1\nmax = 0.41\n[refl.lpips]\nmin = 0.4\n[refl.kid]\nmax = 1\n")
    odd = [dataclasses.replace(found[2], method="<&\"'\x00>", message="\x1b[0m <b>")]
    suite = ElementTree.fromstring(junit([*found, *odd]))[0]
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "2",
        "errors": "1",
        "skipped": "1",
    }
    assert [[child.tag for child in case] for case in suite][:4] == [
        ["system-out"],
        ["skipped"],
        ["failure"],
        ["error"],
    ]
    assert ElementTree.fromstring(junit(found, strict=True))[0].get("failures") == "2"


def test_the_committed_thresholds_are_valid() -> None:
    from bench.registry.metrics import metric_names

    path = Path(__file__).parents[4] / "results" / "thresholds" / "shapes.toml"
    methods = ["base", "refl", "combined", "imagerefl"]
    assert parse_thresholds(path.read_text(encoding="utf-8"), str(path), methods, metric_names()).suite == "shapes"


def test_the_module_can_be_called_like_its_function(results: Path) -> None:
    path = results.parent / "gate.toml"
    path.write_text("[base.lpips]\nmin = 0.1\n", encoding="utf-8")
    assert bench.check(results, path)[0].status == "passed"  # type: ignore[operator]
