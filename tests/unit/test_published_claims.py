"""The ledgers of published tables: every one is read, and names what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

import metrics
from bench.analysis.claims_ledger import read_ledger
from bench.methods.catalogue import method_names
from bench.methods.checkpoints import CHECKPOINTS

LEDGERS = sorted(Path(__file__).parents[2].joinpath("results/claims").glob("*.toml"))


@pytest.mark.parametrize("file", LEDGERS, ids=lambda file: file.stem)
def test_every_ledger_names_what_there_is(file: Path) -> None:
    claims, suite = read_ledger(file)
    assert suite is not None
    known = {*method_names(), *(row.method for row in CHECKPOINTS)}
    for claim in claims:
        assert claim.method in known, claim.id
        assert not claim.over or claim.over in known, claim.id
        assert claim.metric in metrics.names() or claim.metric.startswith("attribute_"), claim.id
        assert claim.reported == () or claim.direction != "above" or claim.reported[0] > 0 or claim.of, claim.id
        assert claim.reported == () or claim.direction != "below" or claim.reported[0] < 0 or claim.of, claim.id
