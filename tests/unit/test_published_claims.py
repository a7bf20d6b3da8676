"""The ledgers of published tables: every one is read, and names what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

import metrics
from bench.analysis.claims_ledger import read_ledger
from bench.methods.catalogue import get_method
from bench.methods.checkpoints import CHECKPOINTS
from bench.suite.load import load_suite
from bench.suite.resolve import known_methods, resolve_method
from bench.suite.schema import Suite

LEDGERS = sorted(Path(__file__).parents[2].joinpath("results/claims").glob("*.toml"))


@pytest.mark.parametrize("file", LEDGERS, ids=lambda file: file.stem)
def test_every_ledger_names_what_there_is(file: Path) -> None:
    claims, suite = read_ledger(file)
    assert suite is not None
    for claim in claims:
        for method in filter(None, (claim.method, claim.over)):
            assert _is_known(method, load_suite(suite)), (claim.id, method)
        assert claim.metric in metrics.names() or claim.metric.startswith("attribute_"), claim.id
        assert claim.reported == () or claim.direction != "above" or claim.reported[0] > 0 or claim.of, claim.id
        assert claim.reported == () or claim.direction != "below" or claim.reported[0] < 0 or claim.of, claim.id


def _is_known(name: str, suite: Suite) -> bool:
    """Whether a run of the suite can be known by this name: a method's, a checkpoint's, or a method's with settings.

    Weights that were given with --set are in the name of a run's folder, and not in the name that it is judged by.
    """
    row, _, settings = name.removesuffix("]").partition("[")
    if not settings:
        return name in {*known_methods(suite), *(row.method for row in CHECKPOINTS)}
    pairs = dict(part.split("=", 1) for part in settings.split(","))
    given = {} if row == "soup" or not get_method(row).uses_weights else {"weights": "shapes:refl"}
    return resolve_method(row, suite, {**given, **pairs}).judged_name == name


@pytest.mark.parametrize(
    "name",
    ["bese", "base[base_guidance=07]", "interpolated[weights=shapes:refl,ratio=0.25]", "interpolated[ratio=.25]"],
)
def test_a_name_that_no_run_can_have_is_told(name: str) -> None:
    assert not _is_known(name, load_suite("shapes"))
