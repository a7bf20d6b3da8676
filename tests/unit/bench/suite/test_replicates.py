"""Replicates in a suite: what may stand in the file, what is run, and that other runs stay what they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.pipeline.prepare import planned, resolved_methods
from bench.suite.load import load_suite
from bench.suite.replicates import check_digests, with_replicates
from bench.suite.resolve import resolve_methods
from bench.suite.schema import Suite

SHAPES = load_suite("shapes")
TEXT = """
name = "own"
prompts = "shapes"
[model]
weights = "shapes:pipeline"
[methods.refl]
{}
[metrics.pickscore]
weights = "shapes:pickscore"
"""


def suite(tmp_path: Path, lines: str) -> Suite:
    path = tmp_path / "own.toml"
    path.write_text(TEXT.format(lines))
    return load_suite(path)


def test_replicates_are_runs_of_their_own_beside_the_single_one() -> None:
    names = ["base", "refl", "imagerefl"]
    alone = resolve_methods(names, SHAPES)
    found = resolve_methods(names, SHAPES, replicates=True)
    assert [method.name for method in alone] == names
    assert [method.name for method in found] == [
        "base",
        *("refl", "refl[replicate=1]", "refl[replicate=2]"),
        *("imagerefl", "imagerefl[replicate=1]", "imagerefl[replicate=2]"),
    ]
    assert [method for method in found if method.name in names] == alone  # the same runs, to the byte of the manifest
    assert found[2].weights == "shapes:refl-seed1"
    assert found[2].safe_name == "refl-replicate-1"
    assert found[2].to_dict()["replicate_of"] == "refl"
    assert "replicate" not in alone[1].to_dict()
    assert found[2].trained_on == ("pickscore",)


def test_replicates_of_a_sweep() -> None:
    found = resolve_methods(["imagerefl"], SHAPES, {"switch_step": "20,30"}, replicates=True)
    assert [method.name for method in found][:4] == [
        "imagerefl[switch_step=20]",
        "imagerefl[switch_step=20,replicate=1]",
        "imagerefl[switch_step=20,replicate=2]",
        "imagerefl",
    ]
    assert found[1].replicate_of == "imagerefl[switch_step=20]"
    assert found[1].schedule.switch_step == 20


def test_ids_of_replicates_differ_in_the_weights_alone() -> None:
    plans = planned(SHAPES, resolve_methods(["refl"], SHAPES, replicates=True))
    assert plans[0].name == "refl@b8a23283"  # as in tests/golden/run_ids.txt
    assert len({plan.hash8 for plan in plans}) == 3
    rest = [{key: value for key, value in plan.identity.items() if key != "tuned"} for plan in plans]
    assert rest[0] == rest[1] == rest[2]


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ('replicates = ["a"]', "has one replicate: name two checkpoints or more, or write it as weights"),
        ('replicates = ["a", "b", "a"]', "names the replicate 'a' twice"),
        ('replicates = ["a", "b"]\nweights = "c"', "has weights 'c', which must be one of its replicates"),
        ('replicates = "a"', "methods.refl.replicates must be a list"),
        ('replicates = ["a", ""]', "methods.refl.replicates.1 must not be empty"),
    ],
)
def test_a_wrong_list_is_refused_in_one_sentence(tmp_path: Path, lines: str, error: str) -> None:
    with pytest.raises(UsageError, match=r"own.toml: methods.refl") as caught:
        suite(tmp_path, lines)
    assert error in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_first_replicate_is_run_by_itself_and_paths_lie_beside_the_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    own = suite(tmp_path, 'replicates = ["a", "b"]')
    assert own.methods["refl"].replicates == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert own.methods["refl"].weights == str(tmp_path / "a")
    assert own.resolved()["methods"]["refl"]["replicates"] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert own.override(samples=2).methods == own.methods
    other = suite(tmp_path, 'replicates = ["a", "b"]\nweights = "b"')
    found = resolve_methods(["refl"], other, replicates=True)
    assert [(method.name, Path(method.weights or "").name) for method in found] == [
        ("refl", "b"),
        ("refl[replicate=0]", "a"),
    ]
    assert "replicates" not in suite(tmp_path, 'weights = "a"').resolved()["methods"]["refl"]


def test_what_has_no_replicates_is_said_or_refused(tmp_path: Path, said: list[str]) -> None:
    with pytest.raises(UsageError, match="suite 'shapes' names no replicates of base"):
        resolve_methods(["base"], SHAPES, replicates=True)
    with pytest.raises(UsageError, match="leave out one of both"):
        resolve_methods(["refl"], SHAPES, {"weights": "shapes:imagerefl"}, replicates=True)
    with pytest.raises(UsageError, match="replicates apply only to methods given by name"):
        resolved_methods(resolve_methods(["refl"], SHAPES), SHAPES, None, replicates=True)
    mixed = SHAPES.model_copy(
        update={"methods": {**SHAPES.methods, "aig": SHAPES.methods["aig"].model_copy(update={"replicates": ()})}}
    )
    found = with_replicates(resolve_methods(["base", "refl", "aig"], mixed), mixed)
    assert [method.name for method in found][-1] == "aig"
    assert said == ["suite 'shapes' names no replicates of aig: one checkpoint is run"]


def test_a_copy_of_a_checkpoint_is_refused() -> None:
    methods = resolve_methods(["refl"], SHAPES, replicates=True)
    digests = {"shapes:refl": "a" * 64, "shapes:refl-seed1": "b" * 64, "shapes:refl-seed2": "a" * 64}
    with pytest.raises(UsageError, match="'shapes:refl' and 'shapes:refl-seed2' of method 'refl' have the same"):
        check_digests(methods, digests)
    check_digests(methods, digests | {"shapes:refl-seed2": "c" * 64})
    other = resolve_methods(["refl", "combined"], SHAPES)  # two methods may have one checkpoint
    check_digests(other, {"shapes:refl": "a" * 64})
