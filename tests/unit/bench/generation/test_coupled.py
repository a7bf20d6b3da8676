"""The images of a prompt as one unit: in batches, after a kill, when memory runs out, in shards, beside other runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import bench
from bench.errors import MissingError, UsageError
from bench.generation.generate import Settings, generate
from bench.methods.coupling import Coupling
from bench.models.weights import digest_of
from bench.store.run_store import RunStore
from bench.store.runs import read_run
from bench.suite.plan import RunPlan, make_plan
from bench.suite.resolve import resolve_method, resolve_methods
from bench.suite.schema import Suite
from prompts import Prompt
from tests.unit.bench.generation.test_generate import with_memory_for
from tests.unit.bench.models import fake_metrics
from tests.unit.bench.small_runs import TEXTS, images_of, small_suite, write_weights

PROMPTS = [Prompt(name, text) for name, text in TEXTS.items()]
K = 2


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """Three prompts of two images, by a network whose results do not depend on the size of its batches."""
    fake_metrics.install()
    folder = tmp_path_factory.mktemp("suite")
    return small_suite(write_weights(folder), folder)


def plans(suite: Suite, *names: str, **settings: str) -> list[RunPlan]:
    methods = resolve_methods(list(names), suite, {"shield": "3", **settings} if "spell" in names else settings)
    return make_plan(suite, methods, PROMPTS, {suite.model.weights: digest_of(suite.model.weights)})


def made(suite: Suite, folder: Path, *wanted: RunPlan, **settings: Any) -> list[RunStore]:
    stores = [RunStore.create(folder, suite.name, plan.method.safe_name, plan.hash8) for plan in wanted]
    generate(wanted, suite, stores, Settings(**settings))
    return stores


@pytest.fixture(scope="module")
def expected(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], str]:
    """The pictures of SPELL, in one batch."""
    (store,) = made(suite, tmp_path_factory.mktemp("spell"), *plans(suite, "spell"), batch_size=6)
    assert store.manifest().counts["network_evaluations_executed"] == 6 * 4 * 2  # as the base model's
    return images_of(store)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 5])
def test_batches_hold_whole_prompts_whatever_their_size(
    suite: Suite, tmp_path: Path, expected: Any, said: list[str], size: int
) -> None:
    (store,) = made(suite, tmp_path, *plans(suite, "spell"), batch_size=size)
    assert images_of(store) == expected
    told = [line for line in said if "made together" in line]
    assert bool(told) is (size < K)
    assert all("the 2 images of a prompt are made together, so that its batches hold 2 images" in line for line in told)


@pytest.mark.slow
def test_a_run_goes_on_with_whole_prompts(suite: Suite, tmp_path: Path, expected: Any) -> None:
    """Lost images are made again together with the rest of their prompt, which stays as it is."""
    (store,) = made(suite, tmp_path, *plans(suite, "spell"), batch_size=2)
    for key in (("p1", 1), ("p3", 0)):
        store.image_path(*key).unlink()
    kept = store.image_path("p3", 1).stat().st_mtime_ns
    before = store.manifest().counts["network_evaluations_executed"]
    made(suite, tmp_path, *plans(suite, "spell"))
    assert images_of(store) == expected
    assert store.image_path("p3", 1).stat().st_mtime_ns == kept
    assert store.manifest().counts["network_evaluations_executed"] - before == 2 * K * 4 * 2  # two prompts, whole


@pytest.mark.slow
def test_memory_that_runs_out_splits_no_prompt(
    suite: Suite, tmp_path: Path, expected: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = with_memory_for(3, monkeypatch)
    (store,) = made(suite, tmp_path / "some", *plans(suite, "spell"), batch_size=6)
    assert images_of(store) == expected
    assert set(tried) == {6, 2}
    assert "out of memory at batch size 6; retrying with 2 (last bits may differ)" in said
    with_memory_for(1, monkeypatch)
    with pytest.raises(
        MissingError, match=r"the model and the 2 images of a prompt, which 'spell\[.*\]' makes together"
    ):
        made(suite, tmp_path / "none", *plans(suite, "spell"), batch_size=6)


@pytest.mark.slow
def test_runs_beside_it_are_what_they_are_alone(suite: Suite, tmp_path: Path, expected: Any) -> None:
    """Of the same batches: no step is shared, and each run has its own pictures."""
    together = plans(suite, "base", "spell", "particle_guidance")
    stores = made(suite, tmp_path / "together", *together, batch_size=6)
    (alone,) = made(suite, tmp_path / "alone", *plans(suite, "base"), batch_size=6)
    assert images_of(stores[0]) == images_of(alone)
    assert images_of(stores[1]) == expected
    assert len({frozenset(images_of(store).values()) for store in stores}) == 3


@pytest.mark.slow
def test_shards_hold_whole_prompts(suite: Suite, tmp_path: Path, expected: Any) -> None:
    how: dict[str, Any] = {"settings": {"shield": 3}, "results": tmp_path, "batch_size": 1}
    assert bench.run(suite, ["spell"], shard="2/2", **how) == []
    (store,) = bench.run(suite, ["spell"], shard="1/2", **how)
    assert images_of(store) == expected
    assert read_run(store).conditions["coupled"] == "spell"


def test_another_number_of_images_is_another_run(suite: Suite) -> None:
    more = suite.model_copy(update={"samples": 4})
    two, four = plans(suite, "spell")[0], plans(more, "spell")[0]
    assert two.hash8 != four.hash8
    assert two.identity["coupling"] == {"kind": "spell", "shield": 3.0, "overshoot": 1.0, "samples": 2}
    assert plans(suite, "base")[0].hash8 == plans(more, "base")[0].hash8
    assert (two.group, plans(suite, "base")[0].group) == (2, 1)
    assert two.method.to_dict()["coupling"] == {"kind": "spell", "shield": 3.0, "overshoot": 1.0}
    assert "coupling" not in plans(suite, "base")[0].method.to_dict()


@pytest.mark.slow
def test_a_prompt_that_was_taken_over_in_part_is_made_whole(suite: Suite, tmp_path: Path, expected: Any) -> None:
    """From a run of two of the prompts, one of whose pictures is gone."""
    (plan,) = plans(suite, "spell")
    (fewer,) = make_plan(suite, [plan.method], PROMPTS[:2], {suite.model.weights: digest_of(suite.model.weights)})
    (store,) = made(suite, tmp_path, fewer, batch_size=2)
    store.image_path("p1", 0).unlink()
    (whole,) = made(suite, tmp_path, plan, batch_size=2)
    assert images_of(whole) == expected
    counts = whole.manifest().counts
    assert (counts["images_reused"], counts["images_generated"]) == (3, 3)
    assert counts["network_evaluations_executed"] == 2 * K * 4 * 2


@pytest.mark.parametrize(
    ("name", "settings", "samples", "told"),
    [
        ("spell", {}, 1, "needs at least 2 of them: pass `--samples 2` or more"),
        ("spell", {"shield": "-1"}, 3, "shield of a coupling must be a number of at least 0, got -1"),
        ("particle_guidance", {"bandwidth": "0"}, 3, "bandwidth of a coupling must be a number above 0, got 0"),
        ("particle_guidance", {"shield": "1"}, 3, "has no setting 'shield'"),
        ("base", {"repulsion": "1"}, 3, "has no setting 'repulsion'"),
    ],
)
def test_what_cannot_be_coupled_is_refused(
    suite: Suite, name: str, settings: dict[str, str], samples: int, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        resolve_method(name, suite.model_copy(update={"samples": samples}), settings)


def test_a_suite_couples_a_method_of_its_own(suite: Suite) -> None:
    given = suite.model_dump(mode="json", exclude_unset=True)
    given["methods"] = {"mine": {"like": "base", "coupling": "spell", "shield": 0.9}}
    found = resolve_method("mine", Suite.model_validate(given))
    assert found.coupling == Coupling("spell", shield=0.9, overshoot=1.0)
    given["methods"]["mine"] = {"like": "base", "shield": 0.9}
    with pytest.raises(UsageError, match="method 'mine' has no setting 'shield'"):
        resolve_method("mine", Suite.model_validate(given))
    given["methods"]["mine"] = {"like": "best_of_n", "reward": "fake_image", "coupling": "spell"}
    with pytest.raises(UsageError, match="cannot both couple the images of a prompt and choose each"):
        resolve_method("mine", Suite.model_validate(given))
    with pytest.raises(UsageError, match="coupling 'dpp' is not one of particle_guidance, spell"):
        Coupling("dpp")  # type: ignore[arg-type]
