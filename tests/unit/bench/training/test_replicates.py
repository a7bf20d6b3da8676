"""Several seeds of one training."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench.training
from bench.cli.app import execute
from bench.errors import UsageError
from bench.training.options import TrainOptions
from bench.training.replicates import parse_seeds, replicates


def test_seeds_are_a_list_or_a_range() -> None:
    assert parse_seeds("0,1,2") == parse_seeds("0-2") == [0, 1, 2]
    assert parse_seeds("7, 3-4") == [7, 3, 4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is no seed"),
        ("0,", "'' is no seed"),
        ("-1", "'-1' is no seed"),
        ("1.5", "'1.5' is no seed"),
        ("3-1", "'3-1' is an empty range"),
        ("1,0-2", "name 1 twice"),
        ("0-1000000000", "more than 100 trainings"),
        ("0-99,100", "more than 100 trainings"),
    ],
)
def test_seeds_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_seeds(text)


def test_each_seed_has_a_folder_of_its_own() -> None:
    made = replicates(TrainOptions("refl", out=Path("results/mine")), [0, 3])
    assert [(one.seed, str(one.out)) for one in made] == [(0, "results/mine-seed0"), (3, "results/mine-seed3")]
    assert [(one.seed, one.out) for one in replicates(TrainOptions("refl"), [4])] == [(4, None)]


def test_the_command_trains_each(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    trained: list[int] = []

    def train(objective: str, options: TrainOptions, *_: object) -> Path | None:
        trained.append(options.seed)
        return options.out if options.seed else None  # the first one was there already

    monkeypatch.setattr(bench.training, "train", train)
    assert execute(["train", "refl", "--seeds", "0-2", "--out", "made"]) == 0
    assert trained == [0, 1, 2]
    assert capsys.readouterr().out == "checkpoint: made-seed1\ncheckpoint: made-seed2\n"
    assert execute(["train", "refl", "--seeds", "0,1", "--seed", "3"]) == 2
    assert "both given" in capsys.readouterr().err
