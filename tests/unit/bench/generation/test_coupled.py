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
from bench.suite.load import load_suite
from bench.suite.plan import RunPlan, make_plan
from bench.suite.resolve import resolve_method, resolve_methods
from prompts import Prompt
from tests.unit.bench.generation.test_generate import with_memory_for

PROMPTS = [Prompt("a", "a large red circle"), Prompt("b", "a small blue star"), Prompt("c", "a green square")]


def suite(samples: int = 3) -> Any:
    found = load_suite("shapes")
    sampler = found.sampler.model_copy(update={"steps": 3})
    return found.model_copy(update={"sampler": sampler, "samples": samples})


def plans(*names: str, samples: int = 3, **settings: str) -> list[RunPlan]:
    methods = resolve_methods(list(names), suite(samples), settings)
    return make_plan(suite(samples), methods, PROMPTS, {"shapes:pipeline": digest_of("shapes:pipeline")})


def made(folder: Path, *wanted: RunPlan, **settings: Any) -> list[RunStore]:
    stores = [RunStore(folder / plan.name) for plan in wanted]
    generate(wanted, suite(), stores, Settings(**settings))
    return stores


def pictures(store: RunStore) -> dict[tuple[str, int], str]:
    return {row.key: row.sha256 for row in store.images()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], str]:
    """The pictures of SPELL, in batches of two prompts."""
    (store,) = made(tmp_path_factory.mktemp("spell"), *plans("spell"), batch_size=6)
    assert store.manifest().counts["network_evaluations_executed"] == 9 * 3 * 2  # as the base model's
    return pictures(store)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_batches_hold_whole_prompts_whatever_their_size(
    tmp_path: Path, expected: Any, said: list[str], size: int
) -> None:
    (store,) = made(tmp_path, *plans("spell"), batch_size=size)
    assert pictures(store) == expected
    told = [line for line in said if "made together" in line]
    assert bool(told) is (size < 3)
    assert (
        not told or "the 3 images of a prompt are made together, so that its batches hold 3 images and not 2" in told[0]
    )


def test_a_run_goes_on_with_whole_prompts(tmp_path: Path, expected: Any) -> None:
    """Lost images are made again together with the rest of their prompt, which stays as it is."""
    (store,) = made(tmp_path, *plans("spell"), batch_size=3)
    for key in (("a", 1), ("c", 0), ("c", 2)):
        store.image_path(*key).unlink()
    kept = store.image_path("c", 1).stat().st_mtime_ns
    before = store.manifest().counts["network_evaluations_executed"]
    made(tmp_path, *plans("spell"))
    assert pictures(store) == expected
    assert store.image_path("c", 1).stat().st_mtime_ns == kept
    assert store.manifest().counts["network_evaluations_executed"] - before == 2 * 3 * 3 * 2  # prompts a and c, whole


def test_memory_that_runs_out_splits_no_prompt(
    tmp_path: Path, expected: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = with_memory_for(5, monkeypatch)
    (store,) = made(tmp_path / "some", *plans("spell"), batch_size=9)
    assert pictures(store) == expected
    assert set(tried) == {9, 3}
    assert "out of memory at batch size 9; retrying with 3 (last bits may differ)" in said
    with_memory_for(2, monkeypatch)
    with pytest.raises(MissingError, match="the model and the 3 images of a prompt, which 'spell' makes together, do"):
        made(tmp_path / "none", *plans("spell"), batch_size=9)


def test_runs_beside_it_are_what_they_are_alone(tmp_path: Path, expected: Any) -> None:
    """Of the same batches: no step is shared, and each run has its own pictures."""
    names = plans("base", "spell", "particle_guidance", shield="0.6", repulsion="0.01")
    stores = made(tmp_path / "together", *names, batch_size=6)
    (alone,) = made(tmp_path / "alone", *plans("base"), batch_size=6)
    assert pictures(stores[0]) == pictures(alone)
    assert pictures(stores[1]) == expected
    assert len({frozenset(pictures(store).values()) for store in stores}) == 3


def test_shards_hold_whole_prompts(tmp_path: Path, expected: Any) -> None:
    text = "\n".join(f'{{"id": "{prompt.id}", "text": "{prompt.text}"}}' for prompt in PROMPTS)
    (tmp_path / "prompts.jsonl").write_text(text, encoding="utf-8")
    how: dict[str, Any] = {"prompts": tmp_path / "prompts.jsonl", "results": tmp_path, "batch_size": 3}
    for which in ("2/2", "1/2"):
        stores = bench.run(suite(), ["spell"], metrics=["pickscore"], shard=which, **how)
    assert pictures(stores[0]) == expected


def test_another_number_of_images_is_another_run() -> None:
    three, four = plans("spell")[0], plans("spell", samples=4)[0]
    assert three.hash8 != four.hash8
    assert three.identity["coupling"] == {"kind": "spell", "shield": 0.6, "overshoot": 1.0, "samples": 3}
    assert plans("base")[0].hash8 == plans("base", samples=4)[0].hash8
    assert (three.group, plans("base")[0].group) == (3, 1)
    assert three.method.to_dict()["coupling"] == {"kind": "spell", "shield": 0.6, "overshoot": 1.0}
    assert "coupling" not in plans("base")[0].method.to_dict()


def test_an_images_unit_that_was_taken_over_in_part_is_made_whole(tmp_path: Path, expected: Any) -> None:
    """A run of two of the prompts, one of whose pictures is gone: the rest is taken over, the prompt is made whole."""
    (plan,) = plans("spell")
    (fewer,) = make_plan(suite(), [plan.method], PROMPTS[:2], {"shapes:pipeline": digest_of("shapes:pipeline")})
    (store,) = made(tmp_path, fewer, batch_size=3)
    store.image_path("a", 0).unlink()
    (whole,) = made(tmp_path, plan, batch_size=3)
    assert pictures(whole) == expected
    counts = whole.manifest().counts
    assert (counts["images_reused"], counts["images_generated"]) == (5, 4)
    assert counts["network_evaluations_executed"] == 6 * 3 * 2


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
def test_what_cannot_be_coupled_is_refused(name: str, settings: dict[str, str], samples: int, told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("(", "\\(")):
        resolve_method(name, suite(samples), settings)


def test_a_suite_couples_a_method_of_its_own() -> None:
    given = suite().model_dump(mode="json", exclude_unset=True) | {
        "methods": {"mine": {"like": "base", "coupling": "spell", "shield": 0.9}}
    }
    found = resolve_method("mine", type(suite()).model_validate(given))
    assert found.coupling == Coupling("spell", shield=0.9, overshoot=1.0)
    given["methods"]["mine"] = {"like": "base", "shield": 0.9}
    with pytest.raises(UsageError, match="method 'mine' has no setting 'shield'"):
        resolve_method("mine", type(suite()).model_validate(given))
    given["methods"]["mine"] = {"like": "best_of_n", "reward": "pickscore", "coupling": "spell"}
    with pytest.raises(UsageError, match="cannot both couple the images of a prompt and choose each"):
        resolve_method("mine", type(suite()).model_validate(given))
    with pytest.raises(UsageError, match="coupling 'dpp' is not one of particle_guidance, spell"):
        Coupling("dpp")  # type: ignore[arg-type]
