"""Several seeds of one training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import bench
from bench.cli.app import execute
from bench.errors import UsageError
from bench.training.options import TrainOptions
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


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Path | None]]:
    """The seed and the folder of each training that was begun; that of seed 0 is there already."""
    begun: list[tuple[int, Path | None]] = []

    def train(objective: str, options: TrainOptions, *_: object) -> Path | None:
        begun.append((options.seed, options.out))
        return options.out if options.seed else None

    monkeypatch.setattr("bench.pipeline.train.run_training", train)
    return begun


def test_the_command_trains_each(trained: list[tuple[int, Path | None]], capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["train", "refl", "--seeds", "0-2", "--out", "results/made"]) == 0
    assert trained == [(seed, Path(f"results/made-seed{seed}")) for seed in range(3)]
    assert capsys.readouterr().out == "checkpoint: results/made-seed1\ncheckpoint: results/made-seed2\n"
    trained.clear()
    assert execute(["train", "refl", "--seeds", "4"]) == 0
    assert execute(["train", "refl", "--seed", "5", "--out", "made"]) == 0
    assert trained == [(4, None), (5, Path("made"))], "the default folders are named by their seed"
    assert execute(["train", "refl", "--seeds", "0,1", "--seed", "3"]) == 2
    assert "both given" in capsys.readouterr().err


@pytest.mark.parametrize("seeds", ["0-2", "0,1,2", [0, 1, 2], (0, 1, 2), range(3)])
def test_the_function_trains_each(trained: list[tuple[int, Path | None]], seeds: str | Sequence[int]) -> None:
    made = bench.train("refl", seeds=seeds, out="made")
    assert trained == [(seed, Path(f"made-seed{seed}")) for seed in range(3)]
    assert made == [None, Path("made-seed1"), Path("made-seed2")]
    assert bench.train("refl", seed=3, out="made") == Path("made")
    assert bench.train("refl", seeds="3", out="made") == [Path("made-seed3")]


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1], [1.5], "x"])
def test_the_function_refuses_what_the_command_refuses(
    trained: list[tuple[int, Path | None]], seeds: str | Sequence[int]
) -> None:
    with pytest.raises(UsageError, match="--seeds"):
        bench.train("refl", seeds=seeds)
    with pytest.raises(UsageError, match="both given"):
        bench.train("refl", seed=1, seeds="0,1")
    assert not trained
