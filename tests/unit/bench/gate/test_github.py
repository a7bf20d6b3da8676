"""`bench check` and `bench compare` through the command line: files, GitHub Actions, baselines, and bad input."""

from __future__ import annotations

import json
import math
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.analysis.compare import Comparison
from bench.cli import main
from bench.gate.github import markdown_summary, workflow_commands
from bench.gate.text import verdicts_text
from bench.gate.verdict import Verdict
from bench.reporting.comparison import comparison_text
from bench.store.records import ScoreRow

ROOT = Path(__file__).parents[4]
fakes = runpy.run_path(str(ROOT / "tests" / "data" / "judging" / "fakes.py"))
make, card, MEANS = fakes["make"], fakes["card"], fakes["MEANS"]


@pytest.fixture(autouse=True)
def _outside_of_actions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for method in ("base", "refl"):
        make(tmp_path / "results", method, prompts=12, metrics=("pickscore", "lpips"))
    return tmp_path / "results"


def thresholds(tmp_path: Path, text: str) -> str:
    path = tmp_path / "gate.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_files_for_ci_are_written_whatever_the_outcome(results: Path, tmp_path: Path) -> None:
    gate = thresholds(tmp_path, "[base.lpips]\nmin = 0.9\n[refl.lpips]\nmin = 0.1\n")
    out = tmp_path / "out"
    arguments = ["--junit", str(out / "gate.xml"), "--summary", str(out / "gate.md")]
    assert main(["check", "--thresholds", gate, *arguments]) == 1
    assert ElementTree.parse(out / "gate.xml").getroot()[0].get("failures") == "1"
    text = (out / "gate.md").read_text(encoding="utf-8")
    assert text.startswith("## Gate failed")
    assert text.index("❌ failed | base") < text.index("✅ passed | refl")


def test_github_actions_get_annotations_and_a_summary(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = thresholds(tmp_path, "[base.lpips]\n# a comment\nmax = 0.1\nmin = 0.0\n[refl.lpips]\nmax = 0.262\n")
    step = tmp_path / "step.md"
    step.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    assert main(["check", "--thresholds", "gate.toml"]) == 1
    assert "::" not in capsys.readouterr().out
    assert step.read_text() == "before\n"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert main(["check", "--thresholds", "gate.toml"]) == 1
    out = capsys.readouterr().out
    assert "::error file=gate.toml,line=3,title=failed%3A base lpips max 0.1::" in out
    assert "::warning file=gate.toml,line=6,title=undecided%3A refl lpips max 0.262::" in out
    assert main(["check", "--thresholds", gate, "--strict"]) == 1
    assert "::warning" not in capsys.readouterr().out
    assert step.read_text(encoding="utf-8").count("## Gate failed") == 2


def test_no_message_can_issue_a_command_or_break_the_table() -> None:
    odd = Verdict(
        "s", "a|b", "r", "m`<b>", "min", 1.0, "failed", "x\n::error::y 100%\r|", math.nan, line=2, path="a:b,c"
    )
    assert workflow_commands([odd]) == (
        "::error file=a%3Ab%2Cc,line=2,title=failed%3A a|b m`<b> min 1::x%0A::error::y 100%25%0D|\n"
    )
    row = next(line for line in markdown_summary([odd], 1).splitlines() if "failed |" in line)
    assert row.replace("\\|", "").count("|") == 6
    assert "<b>" not in row


def test_reasons_cannot_begin_a_line_or_steer_a_terminal() -> None:
    """A line that begins with ::stop-commands:: would suspend the annotations of GitHub Actions."""
    message = "no value: \n::stop-commands::x\r\x1b[2J\u202egnp"
    odd = Verdict("s", "a\n::b", "r", "m", "min", 1.0, "failed", message)
    text = verdicts_text([odd])
    assert "no value: ::stop-commands::x [2J gnp" in text
    assert not any(line.startswith("::") for line in text.splitlines())
    assert "\x1b" not in text
    assert "\u202e" not in text
    comparison = Comparison("a", "b", (), notes=("\n::error::x\x1b[0m",))
    assert comparison_text(comparison).endswith("note: ::error::x [0m\n")


def test_markdown_has_no_links_images_mentions_or_references() -> None:
    odd = Verdict("s", "m", "r", "x", "min", 1.0, "failed", "![a](http://b) [c](d) @all #12 e@f # g")
    row = next(line for line in markdown_summary([odd], 1).splitlines() if "failed |" in line)
    assert r"\!\[a\](http://b) \[c\](d) @<!-- -->all \#<!-- -->12 e@f \# g" in row


def test_baseline_is_written_with_provenance_and_tells_what_changed(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "baselines" / "shapes.json"
    arguments = ["check", "--update-baseline", "--baseline", str(path)]
    assert main(arguments) == 0
    assert "wrote the baseline" in capsys.readouterr().out
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["provenance"].keys() >= {"created", "git", "python", "packages"}
    assert [one["method"] for one in data["summaries"]] == ["base", "refl"]
    assert str(tmp_path) not in path.read_text(encoding="utf-8")
    gate = thresholds(tmp_path, "[base.lpips]\nmax_drop = 0\n[refl.pickscore]\nmax_drop = 0\n")
    assert main(["check", "--thresholds", gate, "--baseline", str(path)]) == 0  # not one last bit of difference
    make(tmp_path / "other", "base", prompts=12, metrics=("lpips",), means={**MEANS["base"], "lpips": 0.3})
    capsys.readouterr()
    assert main([*arguments, "--results", str(tmp_path / "other")]) == 1
    assert "lpips of base is worse than in the baseline" in capsys.readouterr().out
    assert main([*arguments, "--results", str(tmp_path / "other"), "--accept"]) == 0
    out = capsys.readouterr().out
    assert "base    lpips" in out
    assert "-0.112" in out
    assert "and 1 of other methods as they were" in out


def test_a_baseline_that_breaks_an_absolute_bound_is_not_written(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "b.json"
    gate = thresholds(tmp_path, "[base.lpips]\nmin = 0.9\nmax_drop = 0\n")
    assert main(["check", "--update-baseline", "--baseline", str(path), "--thresholds", gate]) == 1
    assert "was not changed" in capsys.readouterr().out
    assert not path.exists()
    gate = thresholds(tmp_path, "[base.lpips]\nmin = 0.1\nmax_drop = 0\n")
    assert main(["check", "--update-baseline", "--baseline", str(path), "--thresholds", gate]) == 0
    assert path.exists()


def test_the_baseline_that_the_thresholds_name_is_the_one_to_write(results: Path, tmp_path: Path) -> None:
    gate = thresholds(tmp_path, "baseline = 'named.json'\n[base.lpips]\nmin = 0.1\nmax_drop = 0\n")
    assert main(["check", "--thresholds", gate]) == 2  # it is not there yet
    assert main(["check", "--update-baseline", "--thresholds", gate]) == 0
    assert main(["check", "--thresholds", gate]) == 0


def test_a_baseline_that_cannot_be_written_leaves_the_old_one(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    assert main(["check", "--update-baseline", "--baseline", str(tmp_path / "file" / "b.json")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    (tmp_path / "old.json").write_text("{}")
    assert main(["check", "--update-baseline", "--baseline", str(tmp_path / "old.json")]) == 2
    assert (tmp_path / "old.json").read_text() == "{}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "pass --thresholds FILE"),
        (["check", "--update-baseline"], "pass --baseline FILE"),
        (
            ["check", "--update-baseline", "--baseline", "n.json", "--junit", "j.xml"],
            "write verdicts, which need thresholds",
        ),
        (["check", "--thresholds", "none.toml"], "cannot read the thresholds file none.toml: No such file"),
        (["check", "--thresholds", "gate.toml", "--results", "empty"], "no finished runs in empty"),
        (["check", "--thresholds", "gate.toml", "--results", "nowhere"], "there is no results folder or run nowhere"),
        (["check", "--thresholds", "gate.toml", "--baseline", "broken.json"], "line 1 is not valid JSON"),
        (["check", "--thresholds", "gate.toml", "--baseline", "odd.json"], "is not a baseline file"),
        (["compare", "base", "refl", "--results", "empty"], "there are no runs in empty"),
        (["compare", "base", "rfl"], "Did you mean 'refl'?"),
        (["compare", "results", "refl"], "contains 2 runs"),
        (["compare", "base", "refl", "--top", "-1"], "--top"),
    ],
)
def test_bad_input_is_one_sentence(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    thresholds(tmp_path, "[base.lpips]\nmin = 0.1\nmax_drop = 1\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{")
    odd = {"suite": "shapes", "method": "base", "metrics": {"lpips": {"mean": "high"}}}
    (tmp_path / "odd.json").write_text(json.dumps({"schema_version": 1, "summaries": [odd]}))
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert said in lines[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[base.lpips\nmin = 1\n", "line 1"),
        ("[base.lpips]\nmin = 0.1\nmaximum = 1\n", "gate.toml, line 3: [base.lpips] has an unknown key 'maximum'"),
        ("[base.lpips]\n\nmax_drop = 'x'\n", "gate.toml, line 3: [base.lpips] max_drop must be a number"),
        ("[base.dominates]\nover = 'refl'\non = 'lpips'\n", "gate.toml, line 3: [base.dominates] needs on"),
    ],
)
def test_malformed_thresholds_name_line_and_key(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    assert main(["check", "--thresholds", thresholds(tmp_path, text)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"suite": "other"}, "suite differs: shapes against other"),
        (
            {"cards": {"lpips": card("lpips", version="2")}},
            "metric lpips was computed differently: version 1 against 2",
        ),
        ({"samples": 3}, "samples differ: 5 against 3 images per prompt"),
    ],
)
def test_runs_that_are_not_comparable_say_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], field: str
) -> None:
    a = make(tmp_path / "results", "base", prompts=6, metrics=("lpips",))
    b = make(tmp_path / "results", "refl", **{"prompts": 6, "metrics": ("lpips",), **change})
    assert main(["compare", str(a.path), str(b.path)]) == 3
    assert field in capsys.readouterr().err


def test_a_method_with_one_sample_is_unscored_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for method in ("base", "refl"):
        store = make(tmp_path / "results", method, prompts=6, samples=1, metrics=("pickscore",))
        reason = "diversity needs at least two images of a prompt"
        rows = [ScoreRow(f"p{p:04d}", None, math.nan, reason) for p in range(6)]
        store.append_scores("lpips", rows, card("lpips"))
    gate = thresholds(tmp_path, "[base.lpips]\nmin = 0.1\n")
    assert main(["check", "--thresholds", gate]) == 1
    assert "lpips of base@" in (out := capsys.readouterr().out)
    assert "has no value: no value could be scored (6 of 6: diversity needs at least two images of a prompt)" in out
    assert main(["compare", "base", "refl"]) == 0
    assert "LPIPS diversity (shapes) of base: 6 of 6 values unscored" in (out := capsys.readouterr().out)
    assert "diversity needs at least two images" in out


def test_nan_scores_are_counted_not_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for method, shift in (("base", 0.0), ("refl", 1.0)):
        store = make(tmp_path / "results", method, prompts=6, samples=2, metrics=())
        rows = [
            ScoreRow(f"p{p:04d}", s, math.nan if (p, s) == (2, 1) else p + shift, "black" if (p, s) == (2, 1) else None)
            for p in range(6)
            for s in range(2)
        ]
        store.append_scores("pickscore", rows, card("pickscore"))
    gate = thresholds(tmp_path, "[refl.pickscore]\nmin = -9\n")
    assert main(["check", "--thresholds", gate]) == 0
    assert "3.5 [" in capsys.readouterr().out  # the mean is over prompts
    assert main(["compare", "base", "refl"]) == 0
    out = capsys.readouterr().out
    assert "PickScore (shapes) of base: 1 of 12 values unscored, for instance: black" in out
    assert "  11  " in out


def test_the_example_workflow_uses_options_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "examples" / "gate.yml").read_text(encoding="utf-8")
    commands = [line.split("bench ", 1)[1] for line in text.splitlines() if line.strip().startswith("bench ")]
    assert {command.split()[0] for command in commands} == {"run", "check", "report"}
    for command in commands:
        name, *words = command.replace("\\", "").split()
        assert main([name, "--help"]) == 0
        known = capsys.readouterr().out
        assert all(word in known for word in words if word.startswith("--")), command


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        ((120.0, math.inf), "more prompts (`bench run --limit N`, `--until decided`) or a larger allowance"),
        (
            (math.inf,),
            "Undecided verdicts are decided by a larger allowance (`bench check --plan`)",
        ),  # the bound is the value: no number of prompts would
        ((math.nan,), ""),  # votes, which say themselves what would
    ],
)
def test_undecided_says_what_to_do(needed: tuple[float, ...], said: str) -> None:
    found = [
        Verdict("s", "refl", "refl@1", "lpips", "min", 0.3, "undecided", "near", needed=number) for number in needed
    ]
    for text in (verdicts_text(found), markdown_summary(found, 0)):
        assert ("are decided by" in text) == bool(said)
        assert said in text
    passed = [Verdict("s", "refl", "refl@1", "lpips", "min", 0.3, "passed", "far", needed=math.nan)]
    assert "are decided by" not in verdicts_text(passed)
