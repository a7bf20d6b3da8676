"""A claims ledger: answers, exit codes, and what is wrong with a file."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

import bench
from bench.analysis.claims import claim_rows
from bench.errors import UsageError

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make, MEANS = fakes["make"], fakes["MEANS"]
HEAD = '[[claim]]\nid = "a"\nsentence = "It does."\nmethod = "refl"\n'


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("claims")
    for method in ("base", "refl", "imagerefl"):
        make(folder, method, metrics=("pickscore", "lpips", "fid"))
    return folder


def answers(results: Path, text: str, **options: object) -> tuple[list[str], int]:
    file = results / "claims.toml"
    file.write_text(text, encoding="utf-8")
    found = bench.claims(file, results=results, **options)
    return [one.answer for one in found], found.code


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "answer", "code"),
    [
        ('over = "base"\nmetric = "pickscore"\ndirection = "above"\n', "holds", 0),
        ('over = "base"\nmetric = "pickscore"\ndirection = "above"\nby = 1.0\n', "holds", 0),
        ('over = "base"\nmetric = "pickscore"\ndirection = "above"\nby = 2.1\n', "undecided", 0),
        ('over = "base"\nmetric = "pickscore"\ndirection = "below"\n', "does not hold", 1),
        ('over = "base"\nmetric = "lpips"\ndirection = "below"\nby = 0.05\n', "holds", 0),
        ('over = "base"\nmetric = "lpips"\ndirection = "within"\nby = 0.01\n', "does not hold", 1),
        ('over = "base"\nmetric = "lpips"\ndirection = "within"\nby = 0.5\n', "holds", 0),
        ('over = "base"\nmetric = "lpips"\ndirection = "open"\n', "does not hold", 1),
        ('over = "refl"\nmetric = "lpips"\ndirection = "open"\n', "holds", 0),
        ('metric = "pickscore"\ndirection = "above"\nby = 20\n', "holds", 0),
        ('over = "base"\nmetric = "kid"\ndirection = "above"\n', "not comparable", 3),
        ('over = "combined"\nmetric = "lpips"\ndirection = "above"\n', "not comparable", 3),
        ('over = "base"\nmetric = "fid"\ndirection = "above"\n', "undecided", 0),
        ('over = "base"\nmetric = "pickscore"\ndirection = "above"\nprotocol = "official"\n', "not comparable", 3),
        (
            'over = "base"\nmetric = "pickscore"\ndirection = "above"\nreported = [9]\ntolerance = 0.1\n',
            "does not hold",
            1,
        ),
    ],
)
def test_answers_and_exit_codes(results: Path, text: str, answer: str, code: int) -> None:
    assert answers(results, HEAD + text) == ([answer], code)
    if answer == "undecided":
        assert answers(results, HEAD + text, strict=True)[1] == 1


def test_a_share_of_what_was_lost(results: Path) -> None:
    text = HEAD.replace("refl", "imagerefl") + 'over = "refl"\nof = "base"\nmetric = "lpips"\ndirection = "above"\n'
    assert answers(results, text + "by = 20\n") == (["holds"], 0)
    assert answers(results, text + "by = 150\n") == (["does not hold"], 1)


def test_reported_stands_beside_measured(results: Path) -> None:
    file = results / "one.toml"
    text = 'over = "base"\nmetric = "pickscore"\ndirection = "above"\nreported = [2.0, 1.0, 3.0]\nsource = "a paper"\n'
    file.write_text(HEAD + text, encoding="utf-8")
    found = bench.claims(file, results=results)
    assert "2 [1, 3]" in found.text
    (row,) = json.loads(json.dumps(claim_rows(found)))["claims"]
    assert (row["answer"], row["reported"], row["source"]) == ("holds", [2.0, 1.0, 3.0], "a paper")
    assert row["ci_low"] < row["measured"] < row["ci_high"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no claims"),
        (HEAD, r"claim 1 \(a\) needs metric"),
        (HEAD + 'metric = "lpips"\ndirection = "up"\n', "direction must be one of above, below, within, open"),
        (HEAD + 'metric = "lpips"\ndirection = "above"\nbye = 1\n', "unknown key 'bye'. Did you mean 'by'"),
        (HEAD + 'metric = "lpips"\ndirection = "above"\nof = "base"\n', "a share needs over as well as of"),
        (HEAD + 'metric = "lpips"\ndirection = "above"\nby = "x"\n', "by must be a number"),
        ((HEAD + 'metric = "lpips"\ndirection = "above"\n') * 2, "two claims with the id 'a'"),
        ("x = [", "not valid TOML"),
    ],
)
def test_mistakes_name_the_claim_and_the_key(results: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        answers(results, text)
