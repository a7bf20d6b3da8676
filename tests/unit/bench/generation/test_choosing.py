"""Best of N and zero-order search, against the same search written out with separate runs and plain arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import metrics
from bench.errors import UsageError
from bench.generation.choosing import Choosing
from bench.generation.generate import Settings, generate
from bench.methods.search import Search
from bench.models.weights import digest_of, resolve
from bench.pipeline.plan import plan as make_bench_plan
from bench.sampling.loop import Batch
from bench.sampling.noise import initial_noise
from bench.store.run_store import RunStore
from bench.suite.load import load_suite
from bench.suite.plan import RunPlan, make_plan, weights_names
from bench.suite.resolve import resolve_method, resolve_methods
from bench.suite.schema import Suite
from prompts import Prompt

PROMPTS = [Prompt("a", "a large red circle"), Prompt("b", "a small blue star")]


def suite() -> Any:
    found = load_suite("shapes")
    sampler = found.sampler.model_copy(update={"steps": 3})
    return found.model_copy(update={"sampler": sampler, "samples": 2})


def plans(*names: str, **settings: str) -> list[RunPlan]:
    methods = resolve_methods(list(names), suite(), settings)
    digests = {name: digest_of(name) for name in weights_names(suite(), methods)}
    return make_plan(suite(), methods, PROMPTS, digests)


def made(folder: Path, *wanted: RunPlan, settings: Settings | None = None) -> list[RunStore]:
    stores = [RunStore(folder / plan.name) for plan in wanted]
    generate(wanted, suite(), stores, settings)
    return stores


def scores(store: RunStore) -> dict[tuple[str, int], float]:
    from PIL import Image

    metric = metrics.load("pickscore", weights=str(resolve("shapes:pickscore")), label="shapes")
    texts = {prompt.id: prompt.text for prompt in PROMPTS}
    rows = list(store.images())
    images = [Image.open(store.path / row.path).convert("RGB") for row in rows]
    values = metric.score(images, [texts[row.prompt_id] for row in rows])
    return {row.key: float(value) for row, value in zip(rows, values, strict=True)}


@pytest.mark.slow
def test_the_best_is_kept_and_each_candidate_costs(tmp_path: Path) -> None:
    """Of the same first candidate: never worse than without a search, better for some; N times the evaluations."""
    base, best = made(tmp_path, *plans("base", "best_of_n", reward="pickscore", n="3"))
    plain, chosen = scores(base), scores(best)
    assert all(chosen[key] >= plain[key] - 1e-4 for key in plain)
    assert sum(chosen[key] > plain[key] + 1e-3 for key in plain) >= 2
    counts = best.manifest().counts
    alone = base.manifest().counts["network_evaluations_needed"]
    assert counts["network_evaluations_needed"] == counts["network_evaluations_executed"] == 3 * alone
    assert best.manifest().trained_on == ["pickscore"]
    assert best.manifest().identity["search"]["reward_weights"] == digest_of("shapes:pickscore")


@pytest.mark.slow
def test_a_search_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Lost images are searched again, in their own batch: the same files."""
    (plan,) = plans("zero_order_search", reward="pickscore", n="2", rounds="1")
    (store,) = made(tmp_path, plan)
    before = {row.key: row.sha256 for row in store.images()}
    (store.path / next(iter(store.images())).path).unlink()
    made(tmp_path, plan)
    assert {row.key: row.sha256 for row in store.images()} == before
    assert store.manifest().counts["network_evaluations_needed"] == 5 * 4 * 2 * 3


class _Mean:
    """A reward for tests: the first pixel."""

    def score(self, images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        return images[:, 0, 0, 0].float()


def batch_of(noises: list[torch.Tensor]) -> tuple[Batch, Any]:
    def make(candidates: Batch) -> torch.Tensor:
        assert candidates.noise is not None
        noises.append(candidates.noise.clone())
        shade = (candidates.noise[:, :1].clamp(-2, 2) * 60 + 125).to(torch.uint8)
        return shade[:, :, None, None].expand(-1, 3, 2, 2)

    return Batch(7, ("a", "b"), (0, 1), None), make  # type: ignore[arg-type]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_zero_order_moves_around_the_best_noise(sign: float) -> None:
    """The candidates of a round lie around the best of all rounds before, at the stated distance."""
    noises: list[torch.Tensor] = []
    batch, make = batch_of(noises)
    search = Search("zero_order", n=2, reward="x", rounds=2, radius=0.5)
    result = Choosing(search, _Mean(), sign).best(batch, ["p", "q"], (3,), make)
    assert len(noises) == search.candidates == 6
    drawn = [initial_noise(7, ("a", "b"), (0, 1), (3,), f"candidate {i}" if i else "") for i in range(6)]
    assert torch.equal(noises[0], drawn[0])
    assert torch.equal(noises[1], drawn[1])
    for first in (2, 4):
        tried = torch.stack(noises[:first])
        shades = (tried[..., 0].clamp(-2, 2) * 60 + 125).to(torch.uint8).float() * sign
        pivot = tried[shades.argmax(dim=0), torch.arange(2)]
        for index in (first, first + 1):
            torch.testing.assert_close(noises[index], (pivot + 0.5 * drawn[index]) / 1.25**0.5)
    every = torch.stack([make(Batch(7, ("a", "b"), (0, 1), None, "", noise)) for noise in list(noises)])  # type: ignore[arg-type]
    values = every[:, :, 0, 0, 0].float() * sign
    assert torch.equal(result[:, 0, 0, 0].float() * sign, values.max(dim=0).values)


class _Nothing:
    def score(self, images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        return torch.full((len(prompts),), torch.nan)


def test_a_reward_without_values_is_said(caplog: pytest.LogCaptureFixture) -> None:
    noises: list[torch.Tensor] = []
    batch, make = batch_of(noises)
    result = Choosing(Search("best_of_n", n=2, reward="x"), _Nothing()).best(batch, ["p", "q"], (3,), make)
    assert "x scored no candidate of 2 images: the first was taken" in caplog.text
    assert torch.equal(result, make(Batch(7, ("a", "b"), (0, 1), None, "", noises[0])))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "needs the reward that it chooses by: pass it with `--set reward=METRIC`, one of pickscore"),
        ({"reward": "lpips"}, "its reward 'lpips' must be an image metric of suite 'shapes'"),
        ({"reward": "pickscore", "n": "1"}, "n of a search must be an integer from 2"),
        ({"reward": "pickscore", "rounds": "1"}, "has no setting 'rounds'"),
    ],
)
def test_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve_method("best_of_n", suite(), settings)


def test_a_plan_counts_every_candidate() -> None:
    found = make_bench_plan("shapes", ["base", "best_of_n"], settings={"reward": "pickscore", "n": 4}, limit=1)
    assert found.evaluations_alone == found.evaluations_shared == 5 * 80 * (1 + 4)


class _Quoting(_Mean):
    """A reward that takes no prompt "q", and so no batch with it."""

    def score(self, images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        if "q" in prompts:
            raise metrics.BadInputError("the prompt has no text")
        return super().score(images, prompts)


def test_a_prompt_that_the_reward_does_not_take_ends_no_run(caplog: pytest.LogCaptureFixture) -> None:
    search, results = Search("best_of_n", n=3, reward="x"), []
    for reward in (_Quoting(), _Mean()):
        noises: list[torch.Tensor] = []
        batch, make = batch_of(noises)
        results.append(Choosing(search, reward).best(batch, ["p", "q"], (3,), make))
    first = make(Batch(7, ("a", "b"), (0, 1), None, "", noises[0]))  # type: ignore[arg-type]
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], first[1])
    assert "x scored no candidate of 1 images (the prompt has no text): the first was taken" in caplog.text


def test_the_reward_has_the_precision_and_the_weights_of_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them, and the content of weights among its options, makes another run."""
    clip = tmp_path / "clip.safetensors"
    loaded: list[dict[str, Any]] = []
    monkeypatch.setattr(metrics, "load", lambda name, **how: loaded.append(how))

    def identity(content: bytes = b"a", **spec: Any) -> dict[str, Any]:
        clip.write_bytes(content)
        data = load_suite("shapes").model_dump()
        data["metrics"]["aesthetic"] = {"options": {"clip": str(clip)}, **spec}
        chosen = Suite.model_validate(data)
        method = resolve_method("best_of_n", chosen, {"reward": "aesthetic"})
        assert method.search is not None
        Choosing.load(method.search, chosen, "cpu")
        digests = {name: digest_of(name) for name in weights_names(chosen, [method])}
        found: dict[str, Any] = make_plan(chosen, [method], PROMPTS, digests)[0].identity["search"]
        return found

    plain = identity()
    assert plain["reward_options"] == {"clip": digest_of(str(clip))}
    assert not {"reward_dtype", "reward_tf32"} & plain.keys()
    assert identity(b"b")["reward_options"] != plain["reward_options"]
    assert identity(dtype="bfloat16", tf32=True) == plain | {"reward_dtype": "bfloat16", "reward_tf32": True}
    assert [(one["dtype"], one["tf32"]) for one in loaded] == [("float32", False)] * 2 + [("bfloat16", True)]
