"""What of the options of engines goes together."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from bench.engines.choose import chosen_engine
from bench.engines.local import LOCAL
from bench.engines.options import EngineOptions
from bench.errors import BenchError, MissingError, UsageError


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"engine": "rey"}, r"unknown engine 'rey'. Did you mean 'ray'\? Known engines: local, ray."),
        ({"workers": 2}, "--workers applies to --engine ray: add it, or omit --workers"),
        ({"address": "auto"}, "--address applies to --engine ray"),
        ({"gpus_per_worker": 0.5}, "--gpus-per-worker applies to --engine ray"),
        ({"engine": "ray", "workers": 0}, r"--workers must be 1 to 10,000, got 0"),
        ({"engine": "ray", "gpus_per_worker": -1.0}, r"--gpus-per-worker must be 0 to 64 .*, got -1.0"),
        ({"engine": "ray", "gpus_per_worker": float("nan")}, "got nan"),
    ],
)
def test_what_does_not_go_together_is_a_sentence(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        EngineOptions(**given).check()


def test_without_ray_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"--engine ray needs the package ray: pip install 'imagerefl-bench\[ray\]'"):
        EngineOptions("ray").check()
    assert BenchError.exit_code == 2
    assert MissingError.exit_code == 4


def test_a_cluster_that_wants_a_token_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    from bench.engines.cluster import _connect

    def refuse(**given: Any) -> None:
        raise ray.exceptions.AuthenticationError("Unauthenticated: no token")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    told = r"cannot reach the Ray cluster at auto \(Unauthenticated: no token.*\): set RAY_AUTH_MODE=token, and"
    with pytest.raises(MissingError, match=told):
        _connect("auto")


def test_the_local_engine_is_this_process() -> None:
    with chosen_engine(EngineOptions()) as engine:
        assert engine is LOCAL
