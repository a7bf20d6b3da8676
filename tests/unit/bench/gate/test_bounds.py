"""Dominance, needed prompts, percent drops, drops of set metrics, and what is judged together."""

from __future__ import annotations

import json
import math
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import UsageError
from bench.gate.baseline import baseline_of
from bench.gate.bounds import drop_level
from bench.gate.changes import change_of
from bench.gate.check import check
from bench.gate.summaries import read_summary
from bench.gate.thresholds import parse_thresholds
from bench.gate.toml_lines import line_of
from bench.gate.verdict import Verdict, exit_code, needed_text
from bench.store.records import ScoreRow

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make, card, MEANS = fakes["make"], fakes["card"], fakes["MEANS"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate") / "results"
    for method in ("base", "refl", "imagerefl"):
        make(folder, method, prompts=40, metrics=("pickscore", "lpips", "fid"))
    return folder


def gated(results: Path, text: str, baseline: dict[str, Any] | None = None) -> list[Verdict]:
    path = results.parent / "gate.toml"
    path.write_text(text, encoding="utf-8")
    return check(results, path, baseline)


def dominates(results: Path, method: str, over: str, on: list[str], margin: str = "") -> Verdict:
    (found,) = gated(results, f'[{method}.dominates]\nover = "{over}"\non = {json.dumps(on)}\n{margin}')
    return found


def test_dominance_is_surely_better_in_the_metrics_own_direction(results: Path) -> None:
    found = dominates(results, "imagerefl", "refl", ["lpips", "fid"])
    assert (found.status, found.name) == ("undecided", "lpips, fid dominates refl")  # FID is not estimable at N = 200
    assert "lead over refl, positive is better: lpips 0.1097 [" in found.message
    assert "fid 21.5 (no interval)" in found.message
    assert dominates(results, "refl", "imagerefl", ["lpips", "fid"]).status == "failed"


def test_one_worse_metric_is_no_dominance_unless_within_its_margin(results: Path) -> None:
    assert dominates(results, "imagerefl", "refl", ["pickscore", "lpips"]).status == "failed"
    within = dominates(results, "imagerefl", "refl", ["pickscore", "lpips"], "margin = { pickscore = 2.0 }\n")
    assert within.status == "passed"
    assert "(may be 2 worse)" in within.message
    edge = dominates(results, "imagerefl", "refl", ["pickscore", "lpips"], "margin = { pickscore = 0.6 }\n")
    assert edge.status == "undecided"
    assert re.search(r"about [\d,]+ prompts would decide \(90% chance", edge.message)
    assert edge.needed > 40


def test_equal_methods_do_not_dominate(tmp_path: Path) -> None:
    for method in ("base", "refl"):
        store = make(tmp_path, method, prompts=40, metrics=())
        store.append_scores("lpips", [ScoreRow(f"p{p:04d}", None, p / 7) for p in range(40)], card("lpips"))
    assert dominates(tmp_path, "refl", "base", ["lpips"]).status == "failed"


def test_being_better_somewhere_is_asked_more_strictly_of_many_metrics(tmp_path: Path) -> None:
    """One lead at the brink of 95 % does not carry a claim over four metrics, of which the others have wide margins."""
    rng = np.random.default_rng(3)
    noise = rng.normal(size=40)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    lead = 2.15 / math.sqrt(40)  # of a standard error: p about 0.04
    shared = rng.normal(5, 1, size=40)
    for method, shift in (("base", shared), ("refl", shared + lead + noise)):
        store = make(tmp_path, method, prompts=40, metrics=())
        store.append_scores("lpips", [ScoreRow(f"p{p:04d}", None, float(shift[p])) for p in range(40)], card("lpips"))
        for name in ("dreamsim", "attribute_entropy", "vendi"):
            known = card("lpips") | {"name": name}
            store.append_scores(name, [ScoreRow(f"p{p:04d}", None, float(p)) for p in range(40)], known)
    assert dominates(tmp_path, "refl", "base", ["lpips"]).status == "passed"
    on, margin = ["lpips", "dreamsim", "attribute_entropy"], "margin = { dreamsim = 1, attribute_entropy = 1 }\n"
    assert dominates(tmp_path, "refl", "base", on, margin).status == "undecided"


def test_dominance_over_a_method_without_a_run_or_a_value_is_missing(results: Path) -> None:
    found = dominates(results, "refl", "combined", ["lpips"])
    assert (found.status, exit_code([found])) == ("missing", 1)
    assert "no finished run of method combined" in found.message
    assert "not scored with kid" in dominates(results, "refl", "base", ["kid"]).message


def test_undecided_says_how_many_prompts_would_decide(results: Path) -> None:
    (near,) = gated(results, "[base.lpips]\nmin = 0.405\n")
    (nearer,) = gated(results, "[base.lpips]\nmin = 0.409\n")
    assert near.status == nearer.status == "undecided"
    assert 40 < near.needed < nearer.needed
    distance, further = nearer.value - 0.409, near.value - 0.405
    assert nearer.needed / near.needed == pytest.approx((further / distance) ** 2, rel=0.3)  # limits are not symmetric
    assert needed_text(math.inf) == "the value lies on the bound: more prompts are unlikely to decide"
    assert "about 1,300 prompts" in needed_text(1234)
    assert "about 57 prompts" in needed_text(56.2)
    assert "without an interval" in needed_text(math.nan)


@pytest.mark.slow
def test_that_many_prompts_do_decide(tmp_path: Path) -> None:
    def run(prompts: int, seed: int) -> Verdict:
        folder = tmp_path / f"{prompts}-{seed}"
        store = make(folder, "base", prompts=prompts, metrics=())
        values = np.random.default_rng(seed).normal(0.2, 1, size=prompts)
        rows = [ScoreRow(f"p{p:04d}", None, float(value)) for p, value in enumerate(values)]
        store.append_scores("lpips", rows, card("lpips"))
        return gated(folder, "[base.lpips]\nmin = 0.0\n")[0]

    one = needed = next(v for v in (run(40, seed) for seed in range(20)) if v.status == "undecided" and v.value > 0.15)
    needed = math.ceil(one.needed)
    assert sum(run(needed, 100 + seed).status == "passed" for seed in range(20)) >= 14


def test_percent_drops_are_of_the_baseline_and_paired(results: Path) -> None:
    before = baseline_of(results)
    entry = next(one for one in before["summaries"] if one["method"] == "base")["metrics"]["lpips"]
    kept = {prompt: 0.9 + 0.001 * (-1) ** index for index, prompt in enumerate(sorted(entry["prompt_means"]))}
    entry["prompt_means"] = {prompt: mean / kept[prompt] for prompt, mean in entry["prompt_means"].items()}
    entry["mean"] = float(np.mean(list(entry["prompt_means"].values())))
    (found,) = gated(results, "[base.lpips]\nmax_drop_percent = 5\n", before)
    assert (found.status, found.value) == ("failed", pytest.approx(10, abs=0.1))
    assert found.ci_low == pytest.approx(10, abs=0.2)  # every prompt fell by about a tenth
    assert "%" in found.message


def test_a_percentage_of_what_may_be_zero_is_not_judged(tmp_path: Path) -> None:
    make(tmp_path, "base", prompts=40, metrics=("image_reward",), means={**MEANS["base"], "image_reward": 0.0})
    (found,) = gated(tmp_path, "[base.image_reward]\nmax_drop_percent = 5\n", baseline_of(tmp_path))
    assert found.status == "missing"
    assert "use max_drop" in found.message


def test_drops_of_set_metrics_are_paired_by_block(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    blocks = 20 + rng.normal(size=12)
    baselines = {}
    for name, shift in (("then", 0.0), ("now", 2.0)):
        store = make(tmp_path / name, "base", prompts=24, metrics=())
        rows = [ScoreRow(None, index, float(value) + shift) for index, value in enumerate(blocks)]
        known = card("fid", unit="squared MMD")  # unbiased at any N, as KID is
        store.append_scores("fid", [*rows, ScoreRow(None, None, 20 + shift)], known)
        baselines[name] = baseline_of(tmp_path / name)
    (found,) = gated(tmp_path / "now", "[base.fid]\nmax_drop = 1\n", baselines["then"])
    assert (found.status, found.value, found.ci_low) == ("failed", pytest.approx(2), pytest.approx(2))
    baselines["then"]["summaries"][0]["prompt_order"] = "another"
    (alone,) = gated(tmp_path / "now", "[base.fid]\nmax_drop = 1\n", baselines["then"])
    assert alone.status == "undecided"  # other prompts in the blocks: no pairs


def test_drops_of_one_file_are_judged_together(results: Path) -> None:
    text = "[base.lpips]\nmax_drop = {0}\n[base.pickscore]\nmax_drop = 1\n[refl.lpips]\nmin = 0\n"
    limits = parse_thresholds(text.format(1), "t", ["base", "refl"], ["lpips", "pickscore"])
    assert drop_level(limits) == pytest.approx(0.975)
    before = baseline_of(results)
    for one in before["summaries"]:
        means = one["metrics"]["lpips"]["prompt_means"]
        rng = np.random.default_rng(5)
        one["metrics"]["lpips"]["prompt_means"] = {p: mean + 0.01 * rng.normal() for p, mean in means.items()}
    alone = gated(results, "[base.lpips]\nmax_drop = 1\n", before)[0]
    together = gated(results, text.format(1), before)[0]
    assert together.ci_high - together.ci_low > 1.08 * (alone.ci_high - alone.ci_low)
    assert together.detectable > alone.detectable > 0


def test_another_protocol_is_not_comparable_with_the_baseline(results: Path) -> None:
    before = baseline_of(results)
    for one in before["summaries"]:
        one["conditions"]["sampler"] = {"steps": 20}
    (found,) = gated(results, "[base.lpips]\nmax_drop = 1\n", before)
    assert found.status == "not_comparable"
    assert "sampler differs ({'steps': 20} then, {'steps': 40} now)" in found.message
    for one in before["summaries"]:
        one["conditions"] = {"sampler": {"steps": 40}, "seed": 7}
    assert gated(results, "[base.lpips]\nmax_drop = 1\n", before)[0].status == "passed"


HEAD = '[base.dominates]\nover = "refl"\non = ["lpips"]\n'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[base.dominates]\non = ['lpips']\n", r'line 1: \[base.dominates\] needs over = "method"'),
        ("[base.dominates]\nover = 'refl'\n", r'line 1: \[base.dominates\] needs on = \["metric", ...\]'),
        ("[base.dominates]\nover = 'refl'\non = []\n", r"line 3: .*at least one metric"),
        ("[base.dominates]\nover = 'rfl'\non = ['lpips']\n", r"line 2: .*unknown method 'rfl'. Did you mean 'refl'\?"),
        ("[base.dominates]\nover = 'base'\non = ['lpips']\n", r"line 2: .*a method other than base itself"),
        (
            "[base.dominates]\nover = 'refl'\non = ['lpisp']\n",
            r"line 3: .*metric 'lpisp'. Did you mean 'lpips'\?",
        ),
        (f"{HEAD}margins = 1\n", r"line 4: .*unknown key 'margins'. Did you mean 'margin'\?"),
        (f"{HEAD}margin = 1\n", r"line 4: .*margin must be a table"),
        (f"{HEAD}margin = {{ lpips = -1 }}\n", r"line 4: .*margin lpips must not be negative"),
        (f"{HEAD}margin = {{ dreamsim = 1 }}\n", r"line 4: .*margin names 'dreamsim', which is not listed in `on`"),
        ("[base]\ndominates = 3\n", r"line 2: \[base.dominates\] must be a table"),
        ("[base.lpips]\nmin = 2\nmax = 1\n", r"line 3: \[base.lpips\] max is below min"),
        ("baseline = 3\n[base.lpips]\nmin = 2\n", r"line 1: baseline must be the name of a file"),
        ("baseline = ''\n[base.lpips]\nmin = 2\n", r"line 1: baseline must be the name of a file"),
        ("suite = ''\n[base.lpips]\nmin = 2\n", r"line 1: suite must be the name of a suite"),
        ("[base.lpips]\n[refl.lpips]\nmin = 2\n", r"line 1: \[base.lpips\] is empty: give one of min, max"),
        (
            "[[base.dominates]]\nover = 'refl'\non = ['lpips']\n[[base.dominates]]\nover = 'no'\non = ['lpips']\n",
            r"line 5: .*unknown method 'no'",
        ),
    ],
)
def test_mistakes_in_dominance_name_line_and_key(results: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        gated(results, text)


def test_a_file_may_name_its_baseline(results: Path) -> None:
    (results.parent / "before.json").write_text(json.dumps(baseline_of(results)), encoding="utf-8")
    (found,) = gated(results, "baseline = 'before.json'\n[base.lpips]\nmax_drop = 0.001\n")
    assert (found.status, found.value) == ("passed", 0)
    with pytest.raises(UsageError, match=r"the baseline file .*none\.json does not exist: make it"):
        gated(results, "baseline = 'none.json'\n[base.lpips]\nmin = 0\n")


def test_lines_of_tables_and_keys() -> None:
    text = "a = 1\n[m.x.1]\nmin = 1\n[m.x]\nmin = 2\n[[m.d]]\nk = 1\n[[m.d]]\n'k' = 2\n[\"m[a]\".x]\nmax=1\n"
    assert line_of(text, (), "a") == 1
    assert line_of(text, ("m", "x.1"), "min") == 3
    assert line_of(text, ("m", "x"), "min") == 5
    assert line_of(text, ("m",)) == 2
    assert [line_of(text, ("m", "d"), "k", nth) for nth in (0, 1)] == [7, 9]
    assert line_of(text, ("m[a]", "x"), "max") == 11
    assert line_of(text, ("nowhere",), "k") == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# c\n\n[base]\nlpips = {min = 0.1, mx = 3}\n", 4),
        ("# c\n\nbase.lpips.mx = 3\n", 3),
        ("[base]\nlpips.min = 1\nlpips.mx = 3\n", 3),
        ("[refl]\nlpips.mx = 3\n[base]\n'lpips' . \"mx\" = 3\n", 4),
        ("a = 1\nbase = { lpips = { mx = 3 } }\n", 2),
        ("[base.hpsv2]\n1.mx = 3\n[base.lpips]\nmin = 2\nmx = 3\n", 5),
    ],
)
def test_lines_of_dotted_and_inline_keys(text: str, line: int) -> None:
    assert line_of(text, ("base", "lpips"), "mx") == line


def test_lines_of_tables_that_are_written_inline() -> None:
    text = "# c\n[base]\npickscore.min = 1\nlpips = { min = 1 }\n"
    assert line_of(text, ("base", "lpips")) == 4
    assert line_of(text, ("base", "pickscore")) == 3
    assert line_of("\nbase.lpips.min = 1\n", ("base",)) == 2
    inline = "[base]\nfid.max = 3\ndominates = [{ over = 'x', on = ['lpips'] }]\n"
    assert line_of(inline, ("base", "dominates"), "over") == 3


def test_the_committed_baseline_passes_the_committed_thresholds() -> None:
    from bench.gate.baseline import read_baseline
    from bench.gate.bounds import verdicts
    from bench.gate.thresholds import read_thresholds
    from bench.registry.metrics import metric_names

    path = Path(__file__).parents[4] / "results" / "thresholds" / "shapes.toml"
    limits = read_thresholds(path, ["base", "refl", "combined", "imagerefl"], metric_names())
    assert limits.baseline is not None
    before = read_baseline(limits.baseline)
    found = verdicts(limits, before["summaries"], before)
    assert {one.status for one in found} == {"passed"}, [one.message for one in found if one.status != "passed"]
    assert all(one.value == 0 for one in found if one.rule.startswith("max_drop"))
    assert all(summary["provenance"]["git"]["commit"] for summary in before["summaries"])


def summary(entry: dict[str, Any]) -> Any:
    return read_summary({"suite": "s", "method": "base", "metrics": {"m": entry}})


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_percent_drops_cover_the_true_ratio(level: float) -> None:
    """A world whose mean falls from 2 to 1.8 while prompts differ much: a drop of 10 %."""
    held, trials = 0, 400
    for trial in range(trials):
        rng = np.random.default_rng([8, trial])
        effect = rng.gamma(4, 0.5, size=40)
        old, new = effect + 0.3 * rng.normal(size=40), 0.9 * effect + 0.3 * rng.normal(size=40)
        then, now = (
            {"mean": float(side.mean()), "n": 40, "prompt_means": {f"p{i}": float(v) for i, v in enumerate(side)}}
            for side in (old, new)
        )
        one = change_of(summary(then), summary(now), "m", level, percent=True).interval
        held += one.low <= -10 <= one.high
    assert level - 0.025 <= held / trials <= min(1.0, level + 0.02)


def test_without_common_prompts_a_drop_is_of_two_separate_means() -> None:
    then = {"mean": 1.0, "ci_low": 0.8, "ci_high": 1.2, "n": 10}
    now = {"mean": 0.5, "ci_low": 0.35, "ci_high": 0.65, "n": 10}
    one = change_of(summary(then), summary(now), "m", 0.95).interval
    assert (one.mean, one.low, one.high) == pytest.approx((-0.5, -0.75, -0.25))
    wide = change_of(summary(then), summary(now), "m", 0.99).interval
    assert wide.high - wide.low == pytest.approx(0.5 * 2.5758 / 1.96, rel=1e-3)
