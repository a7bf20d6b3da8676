"""Memory that runs out while a metric scores: nothing is stored for it, the others score, and the next call goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import bench.scoring.score as stage
from bench.errors import MissingError
from bench.store.outdated import is_current
from bench.suite.metric_spec import MetricSpec
from tests.unit.bench.scoring.fakes import SeenGroup, SeenImage, SeenSet, register, run_of


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["seen_image", "seen_group", "seen_set"])
def test_nothing_is_stored_and_the_next_call_makes_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    made = {"seen_image": SeenImage, "seen_group": SeenGroup, "seen_set": SeenSet}
    store = run_of(tmp_path, {"p1": [20, 30], "p2": [40, 50]})
    seen = made[kind].seen
    short = True

    def network(self: Any, inputs: torch.Tensor) -> torch.Tensor:
        if short and self.network == kind:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return seen(self, inputs)

    for one in made.values():
        monkeypatch.setattr(one, "seen", network)
    monkeypatch.setattr(stage, "scope_of", lambda *_: SimpleNamespace(digest="s", asked={}))
    monkeypatch.setattr("bench.scoring.memory.load_metric", lambda name, *_: made[name](name, network=name))
    suite: Any = SimpleNamespace(metrics={name: MetricSpec() for name in made}, reference=None, label=None)
    with pytest.raises(
        MissingError, match=rf"metric '{kind}' could not be scored: there is too little memory on 'cpu'"
    ):
        stage.score([store], suite)
    assert store.scores(kind) == []
    others = [name for name in made if name != kind]
    assert all(store.scores(name) for name in others)
    short = False
    stage.score([store], suite)
    rows = store.scores(kind)
    assert rows
    assert all(is_current(row) for row in rows)
