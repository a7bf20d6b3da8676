"""Several seeds of one training."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.cli.app import execute
from bench.errors import UsageError
from bench.training.replicates import parse_seeds


def test_seeds_are_a_list_or_a_range() -> None:
    assert parse_seeds("0,1,2") == parse_seeds("0-2") == [0, 1, 2]
    assert parse_seeds("7, 3-4") == [7, 3, 4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not a seed"),
        ("0,", "'' is not a seed"),
        ("-1", "'-1' is not a seed"),
        ("1.5", "'1.5' is not a seed"),
        ("3-1", "'3-1' is an empty range"),
        ("1,0-2", "name 1 twice"),
        ("0-1000000000", "more than 100 training runs"),
        ("0-99,100", "more than 100 training runs"),
    ],
)
def test_seeds_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_seeds(text)


def test_the_command_trains_each(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    trained: list[tuple[int, Path | None]] = []

    def train(objective: str, *, seed: int, out: Path | None, **_: object) -> Path | None:
        trained.append((seed, out))
        return out if seed else None  # the first one was there already

    monkeypatch.setattr(bench, "train", train, raising=False)
    assert execute(["train", "refl", "--seeds", "0-2", "--out", "results/made"]) == 0
    assert trained == [(seed, Path(f"results/made-seed{seed}")) for seed in range(3)]
    assert capsys.readouterr().out == "checkpoint: results/made-seed1\ncheckpoint: results/made-seed2\n"
    trained.clear()
    assert execute(["train", "refl", "--seeds", "4"]) == 0
    assert execute(["train", "refl", "--seed", "5", "--out", "made"]) == 0
    assert trained == [(4, None), (5, Path("made"))], "the default folders are named by their seed"
    assert execute(["train", "refl", "--seeds", "0,1", "--seed", "3"]) == 2
    assert "both given" in capsys.readouterr().err
