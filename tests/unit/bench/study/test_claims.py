"""Claims about what people say: a win rate against one half."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.errors import UsageError
from tests.unit.bench.study.made import simulated, write_study

HEAD = '[[claim]]\nid = "a"\nsentence = "People say so."\nmethod = "imagerefl"\nmetric = "human_preference"\n'


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    votes = simulated(quality=(0.0, 0.1, 1.6), raters=16, prompts=20)
    return write_study(tmp_path_factory.mktemp("study") / "study", votes)


def judged(study: Path | None, text: str, tmp_path: Path) -> tuple[str, str, int]:
    file = tmp_path / "claims.toml"
    file.write_text(text)
    found = bench.claims(file, results=tmp_path, study=study)
    return found[0].answer, found[0].why, found.code


@pytest.mark.parametrize(
    ("text", "answer", "code"),
    [
        ('over = "base"\ndirection = "above"\n', "holds", 0),
        ('direction = "above"\n', "holds", 0),
        ('over = "base"\ndirection = "above"\nby = 0.3\n', "undecided", 0),
        ('over = "base"\ndirection = "above"\nby = 0.45\n', "does not hold", 1),
        ('over = "base"\ndirection = "below"\n', "does not hold", 1),
        ('over = "base"\ndirection = "open"\n', "does not hold", 1),
        ('over = "base"\ndirection = "within"\nby = 0.5\n', "holds", 0),
        ('over = "combined"\ndirection = "above"\n', "not comparable", 3),
        ('over = "base"\nof = "refl"\ndirection = "above"\n', "not comparable", 3),
        ('over = "base"\ndirection = "above"\nprotocol = "official"\n', "not comparable", 3),
        ('over = "base"\ndirection = "above"\nreported = [0.5]\ntolerance = 0.01\n', "does not hold", 1),
        ('over = "base"\ndirection = "above"\nreported = [0.78]\ntolerance = 0.1\n', "holds", 0),
    ],
)
def test_a_win_rate_is_held_against_one_half(study: Path, text: str, answer: str, code: int, tmp_path: Path) -> None:
    found = judged(study, HEAD + text, tmp_path)
    assert (found[0], found[2]) == (answer, code)


def test_turned_round_it_is_below(study: Path, tmp_path: Path) -> None:
    text = HEAD.replace("imagerefl", "base") + 'over = "imagerefl"\ndirection = "below"\n'
    assert judged(study, text, tmp_path)[0] == "holds"


def test_a_close_pair_is_open(study: Path, tmp_path: Path) -> None:
    text = HEAD.replace("imagerefl", "refl") + 'over = "base"\ndirection = "open"\n'
    assert judged(study, text, tmp_path)[0] == "holds"


def test_without_a_study_it_says_what_to_give(tmp_path: Path) -> None:
    answer, why, code = judged(None, HEAD + 'direction = "above"\n', tmp_path)
    assert (answer, code) == ("not comparable", 3)
    assert "--study" in why


def test_a_claim_about_a_run_still_needs_runs(study: Path, tmp_path: Path) -> None:
    other = HEAD.replace("human_preference", "pickscore").replace('id = "a"', 'id = "b"')
    text = f'{HEAD}direction = "above"\n{other}direction = "above"\n'
    with pytest.raises(UsageError, match="no finished runs"):
        judged(study, text, tmp_path)


def test_the_measured_value_is_the_win_rate(study: Path, tmp_path: Path) -> None:
    file = tmp_path / "claims.toml"
    file.write_text(HEAD + 'over = "base"\ndirection = "above"\n')
    found = bench.claims(file, results=tmp_path, study=study)
    assert 0.6 < found[0].measured.mean < 0.95
    assert "imagerefl - base  human_preference" in found.text
