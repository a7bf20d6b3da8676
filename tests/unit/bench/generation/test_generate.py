"""The generating stage under trouble: memory that runs out, writers that fail, what the manifest counts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import MissingError, UsageError
from bench.generation import generate as stage
from bench.generation.batch_size import LARGEST, largest_batch, starting_size
from bench.generation.cutting import smaller_batches
from bench.generation.generate import Settings, generate
from bench.models import decoding as pictures
from bench.models.load import check_guidance
from bench.models.sd import StableDiffusion
from bench.runtime.progress import Silent
from bench.sampling.batches import Work, cut
from bench.store.run_store import RunStore
from bench.suite.plan import RunPlan, make_plan
from bench.suite.resolve import resolve_methods
from bench.suite.schema import Suite
from prompts import Prompt
from tests.unit.bench.models.families import FAMILIES, family_pipeline, scheduler_of, tiny_network
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_unet

METHODS = ["base", "refl", "combined"]
PROMPTS = [Prompt("p1", "a red circle"), Prompt("p2", "a large star"), Prompt("p3", "a square")]
Made = dict[str, dict[tuple[str, int], str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    tiny_pipeline(folder / "pipeline")
    tiny_unet(5).save_pretrained(folder / "tuned")
    return folder


@pytest.fixture
def suite(weights: Path) -> Suite:
    return Suite.model_validate(
        {
            "name": "tiny",
            "model": {"weights": str(weights / "pipeline")},
            "prompts": "unused",
            "samples": 3,
            "resolution": 32,
            "guidance": 2.0,
            "sampler": {"steps": 4},
            "methods": {
                "refl": {"weights": str(weights / "tuned")},
                "combined": {"weights": str(weights / "tuned"), "switch_step": 3},
            },
            "metrics": {"lpips": {}},
        }
    )


def plans_of(suite: Suite, methods: list[str]) -> list[RunPlan]:
    digests = {suite.model.weights: "base", str(suite.methods["refl"].weights): "tuned"}
    return make_plan(suite, resolve_methods(methods, suite), PROMPTS, digests)


def run(suite: Suite, results: Path, methods: list[str] = METHODS, **settings: Any) -> list[RunStore]:
    plans = plans_of(suite, methods)
    stores = [RunStore.create(results, "tiny", plan.method.safe_name, plan.hash8) for plan in plans]
    generate(plans, suite, stores, Settings(**settings))
    return stores


def images(stores: list[RunStore]) -> Made:
    return {store.name: {row.key: row.sha256 for row in store.images()} for store in stores}


def with_memory_for(limit: int, monkeypatch: pytest.MonkeyPatch, network: str | None = None) -> list[int]:
    """A device on which more than `limit` images at a time do not fit; returns the batches that were tried."""
    predict, tried = StableDiffusion.predict, []

    def limited(self: Any, name: str, latents: torch.Tensor, *rest: Any) -> torch.Tensor:
        tried.append(len(latents))
        if len(latents) > limit and network in (None, name):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
        return predict(self, name, latents, *rest)

    monkeypatch.setattr(StableDiffusion, "predict", limited)
    return tried


@pytest.mark.slow
def test_out_of_memory_halves_the_batch_and_loses_nothing(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(suite, tmp_path / "a", batch_size=2)
    tried = with_memory_for(2, monkeypatch)
    found = run(suite, tmp_path / "b", batch_size=9)
    assert images(found) == images(expected)
    assert {len(row) for row in images(found).values()} == {9}
    assert [line for line in said if "out of memory" in line] == [
        "out of memory at batch size 9; retrying with 4 (last bits may differ)",
        "out of memory at batch size 4; retrying with 2 (last bits may differ)",
    ]
    assert tried[:3] == [9, 4, 2]
    manifest = found[0].manifest()
    assert manifest.timings["batch_size"] == 2
    assert manifest.batches == {"size": 9, "sizes": [9, 4, 2], "layers": [[0, 3, ""]]}
    assert smaller_batches(manifest).startswith("batches of 9 were planned, and some images were made 4 or 2 at a time")
    assert smaller_batches(expected[0].manifest()) == ""
    # Each failed attempt had begun one guided evaluation of all its images, which did not end.
    assert manifest.counts["network_evaluations_needed"] == 9 * 8
    assert sum(store.manifest().counts["network_evaluations_executed"] for store in found) == 9 * (8 + 4 + 1)


@pytest.mark.slow
def test_what_a_batch_finished_before_memory_ran_out_is_kept(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(suite, tmp_path / "a", batch_size=9)
    saved: list[tuple[str, int]] = []
    save = RunStore.save_image

    def counting(self: RunStore, *arguments: Any) -> Any:
        saved.append((self.name, arguments[1]))
        return save(self, *arguments)

    monkeypatch.setattr(RunStore, "save_image", counting)
    with_memory_for(5, monkeypatch, network="tuned")
    found = run(suite, tmp_path / "b", batch_size=9)
    assert len(saved) == 27  # the base images of the first attempt were not made again
    base = found[0].name
    assert images(found)[base] == images(expected)[base]
    assert {len(row) for row in images(found).values()} == {9}


@pytest.mark.slow
@pytest.mark.parametrize("failing", [(1, 2), (5,)], ids=["the first leaf", "the last leaf"])
def test_what_the_decoder_had_no_memory_for_is_made_again(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, failing: tuple[int, ...]
) -> None:
    """In the thread that decodes beside the next batch, whose error comes back with a later one."""
    monkeypatch.setattr(pictures, "available_cores", lambda: 64)
    some_levels, sizes = StableDiffusion._some_levels, []

    def short(self: Any, latents: torch.Tensor, vae: Any) -> Any:
        sizes.append(len(latents))
        if len(sizes) in failing:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return some_levels(self, latents, vae)

    monkeypatch.setattr(StableDiffusion, "_some_levels", short)
    (found,) = run(suite, tmp_path, ["base"], batch_size=2)
    assert sizes[:2] == [2, 1 if 1 in failing else 2]  # fewer at a time were tried first
    keys = [row.key for row in found.images()]
    assert len(keys) == len(set(keys)) == found.manifest().counts["images"] == 9
    assert len([line for line in said if "out of memory" in line]) == 1


def test_one_image_that_does_not_fit_is_a_sentence(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memory_for(0, monkeypatch)
    with pytest.raises(MissingError, match="the model and one image do not fit"):
        run(suite, tmp_path, ["base"], batch_size=2)


def test_networks_leave_the_device_before_batches_shrink(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = with_memory_for(4, monkeypatch)
    rooms = iter([True, False, False])
    monkeypatch.setattr(StableDiffusion, "make_room", lambda self: next(rooms, False))
    run(suite, tmp_path, ["base"], batch_size=9)
    assert tried[:3] == [9, 9, 4]


def test_a_writer_that_fails_ends_the_run_and_the_batches_written_whole_are_recorded(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the rest of the batch: what is missing of it would be made again in other company."""
    save = RunStore.save_image

    def full(self: RunStore, prompt_id: str, sample: int, pixels: Any) -> Any:
        if (prompt_id, sample) == ("p2", 1):
            raise UsageError("cannot write: the disk is full")
        return save(self, prompt_id, sample, pixels)

    monkeypatch.setattr(RunStore, "save_image", full)
    with pytest.raises(UsageError, match="disk is full"):
        run(suite, tmp_path, ["base"], batch_size=3)
    (store,) = [RunStore(path) for path in (tmp_path / "runs" / "tiny").iterdir()]
    recorded = {row.key for row in store.images()}
    assert {("p1", 0), ("p1", 1), ("p1", 2)} <= recorded
    assert not {("p2", 0), ("p2", 1), ("p2", 2)} & recorded
    good, _ = store.verified_images(recorded)
    assert len(good) == len(recorded)
    assert not [one for one in threading.enumerate() if one.name.startswith(("decode", "write"))]


@pytest.mark.slow
@pytest.mark.parametrize("cores", [1, 64], ids=["inline", "beside"])
def test_values_that_are_no_numbers_end_the_run(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    """Cast to uint8 they would be black images of a run that looks complete."""
    monkeypatch.setattr(pictures, "available_cores", lambda: cores)
    decoding, leaves = StableDiffusion.decoding, []

    def overflowing(self: Any, latents: torch.Tensor) -> Any:
        leaves.append(len(latents))
        if len(leaves) == 2:
            latents = latents.clone()
            latents[1, 0, 0, 0] = torch.inf
        return decoding(self, latents)

    monkeypatch.setattr(StableDiffusion, "decoding", overflowing)
    with pytest.raises(UsageError, match=r"1 of 3 images contain NaN or infinite values .*check the weights"):
        run(suite, tmp_path, ["base"], batch_size=3)
    (store,) = [RunStore(path) for path in (tmp_path / "runs" / "tiny").iterdir()]
    assert {row.prompt_id for row in store.images()} <= {"p1", "p3"}
    assert not store.manifest().complete


@pytest.mark.slow
def test_writing_waits_beside_the_next_batch_and_is_bounded(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing can be written, as many batches as may wait are made, and no more."""
    gate, made, ahead = threading.Event(), [], []
    save, decoding = RunStore.save_image, StableDiffusion.decoding

    def held(self: RunStore, *arguments: Any) -> Any:
        gate.wait(30)
        return save(self, *arguments)

    def counted(self: Any, latents: torch.Tensor) -> Callable[[], torch.Tensor]:
        made.append(len(latents))
        if len(made) == 3:  # the first is being written, two may wait
            ahead.append(gate.is_set())
            threading.Timer(0.2, gate.set).start()
        if len(made) == 4:
            ahead.append(gate.is_set())
        return decoding(self, latents)

    monkeypatch.setattr(RunStore, "save_image", held)
    monkeypatch.setattr(StableDiffusion, "decoding", counted)
    (store,) = run(suite, tmp_path, ["base"], batch_size=1)
    assert ahead == [False, True]
    assert len(store.images()) == 9


@pytest.mark.slow
def test_bits_do_not_depend_on_where_images_are_decoded(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the thread that generates, or in another one beside the next batch."""
    levels, found = StableDiffusion._levels, {}
    for cores, where in ((1, "MainThread"), (64, "decode_0")):
        monkeypatch.setattr(pictures, "available_cores", lambda cores=cores: cores)
        threads: set[str] = set()
        monkeypatch.setattr(
            StableDiffusion,
            "_levels",
            lambda self, *rest, threads=threads: threads.add(threading.current_thread().name) or levels(self, *rest),
        )
        found[where] = images(run(suite, tmp_path / where, ["base"], batch_size=2))
        assert threads == {where}
    assert found["MainThread"] == found["decode_0"]


@pytest.mark.slow
def test_progress_hears_of_a_batch_once(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    """However many methods share it: their parts of it end at uneven times, of which no rate can be told."""

    class Heard(Silent):
        def __init__(self) -> None:
            self.counts: list[int] = []

        def advance(self, n: int = 1) -> None:
            self.counts.append(n)

    heard, plans = Heard(), plans_of(suite, METHODS)
    stores = [RunStore.create(tmp_path, "tiny", plan.method.safe_name, plan.hash8) for plan in plans]
    generate(plans, suite, stores, Settings(batch_size=3), heard)
    assert sum(heard.counts) == 9 * len(METHODS)
    assert len(heard.counts) <= 3


@pytest.mark.slow
def test_the_batch_size_is_found_and_kept_for_the_rest_of_a_run(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (store,) = run(suite, tmp_path, ["base"])
    assert store.manifest().timings["batch_size"] == LARGEST
    manifest = store.manifest()
    manifest.timings["batch_size"] = 4
    store.write_manifest(manifest)
    for path in store.path.glob("images/p1/*.png"):
        path.unlink()
    tried = with_memory_for(100, monkeypatch)
    run(suite, tmp_path, ["base"])
    assert max(tried) == 4


def test_sizes_follow_the_resolution_on_a_processor_and_the_memory_elsewhere() -> None:
    class Model:
        device = torch.device("cpu")

    model: Any = Model()
    assert [starting_size(model, side, ["x"], 1.0) for side in (32, 64, 128, 512)] == [32, 32, 8, 1]
    gib = 2**30
    assert largest_batch(lambda n: 2 * gib + n * gib, 40 * gib) == 30
    assert largest_batch(lambda n: n * gib, 1000 * gib) == LARGEST
    assert largest_batch(lambda n: 4 * gib, 10 * gib) == 5  # what both share does not make images free
    assert largest_batch(lambda n: n * gib, gib // 2) == 1


def test_the_probe_runs_every_network_and_measures_the_base(
    suite: Suite, weights: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the CUDA branch does, with a model on the processor and a device whose memory is written down."""
    model = StableDiffusion(weights / "pipeline", suite)
    model.add_network("tuned", weights / "tuned")
    used: list[tuple[str, int]] = []
    predict = StableDiffusion.predict

    def watched(self: Any, name: str, latents: torch.Tensor, *rest: Any) -> torch.Tensor:
        used.append((name, len(latents)))
        return predict(self, name, latents, *rest)

    monkeypatch.setattr(StableDiffusion, "predict", watched)

    class Device:
        type = "cuda"

    class Model:
        device = Device()

        def __getattr__(self, name: str) -> Any:
            return getattr(model, name)

    memory = {"mem_get_info": (10_000, 20_000), "memory_reserved": 500, "memory_allocated": 100}
    for name, value in memory.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 100 + 1000 * used[-1][1])
    monkeypatch.setattr("torch.zeros", lambda shape, device, dtype: torch.ones(shape, dtype=dtype))
    real: Any = Model()
    assert starting_size(real, 32, ["a star"], 2.0) == int(10_400 * 0.8 // 1000)
    assert used == [("base", 1), ("tuned", 1), ("base", 1), ("base", 2)]


def test_work_is_cut_and_pieces_that_nobody_wants_are_left_out() -> None:
    keys = tuple((f"p{i}", 0) for i in range(5))
    work = Work(keys, {"a": frozenset(keys[:2]), "b": frozenset(keys[:1])})
    assert cut(work, 2) == [Work(keys[:2], {"a": frozenset(keys[:2]), "b": frozenset(keys[:1])})]
    assert cut(work, 5) == [work]


def test_second_order_schedulers_count_every_evaluation(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    heun = suite.model_copy(update={"sampler": suite.sampler.model_copy(update={"scheduler": "HeunDiscreteScheduler"})})
    (store,) = run(heun, tmp_path, ["base"])
    counts = store.manifest().counts
    assert counts["network_evaluations_needed"] == counts["network_evaluations_executed"] == 9 * 2 * (2 * 4 - 1)


@pytest.mark.slow
def test_compiling_is_reachable(suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compiled.append(type(self).__name__))
    (plain,) = run(suite, tmp_path, ["combined"])
    assert compiled == []
    (store,) = run(suite.override(compile=True), tmp_path, ["combined"])
    assert compiled == ["UNet2DConditionModel", "UNet2DConditionModel", "Decoder"]
    assert store.manifest().identity["compile"] is True
    assert store.name != plain.name  # its last bits may be others
    assert "compile" not in plain.manifest().identity


@pytest.mark.parametrize(
    ("model", "guidance", "words"),
    [
        ({"family": "flux"}, 3.5, "guidance 3.5 on its base side, but family 'flux' is guidance-distilled"),
        ({"family": "flux", "true_cfg": True}, 3.5, "does not exist|do not exist"),
        (
            {"family": "sd", "embedded_guidance": 3.5},
            1.0,
            "embedded_guidance applies only to guidance-distilled models",
        ),
    ],
)
def test_guidance_on_a_distilled_model(suite: Suite, tmp_path: Path, model: Any, guidance: float, words: str) -> None:
    spec = suite.model.model_copy(update=model | {"weights": "nowhere/x.safetensors"})
    wrong = suite.model_copy(update={"model": spec, "guidance": guidance})
    plans = make_plan(wrong, resolve_methods(["base"], wrong), PROMPTS, {spec.weights: "base"})
    stores = [RunStore.create(tmp_path, "tiny", plan.method.safe_name, plan.hash8) for plan in plans]
    with pytest.raises((UsageError, MissingError), match=words):
        stage.generate(plans, wrong, stores)


def test_the_embedded_guidance_is_part_of_the_identity(suite: Suite) -> None:
    said = suite.model_copy(update={"model": suite.model.model_copy(update={"embedded_guidance": 2.0})})
    (plain,), (other,) = plans_of(suite, ["base"]), plans_of(said, ["base"])
    assert "embedded_guidance" not in plain.identity
    assert other.identity["embedded_guidance"] == 2.0
    assert plain.hash8 != other.hash8


def test_guidance_rules_are_part_of_the_identity_where_they_act(suite: Suite) -> None:
    def with_rules(guidance: float = 4.0, **rules: float) -> Suite:
        model = suite.model.model_copy(update={"family": "z_image", **rules})
        return suite.model_copy(update={"model": model, "guidance": guidance})

    def identity(one: Suite) -> dict[str, Any]:
        return plans_of(one, ["base"])[0].identity

    said = identity(with_rules(cfg_normalization=1.0, cfg_truncation=0.5))
    assert (said["cfg_normalization"], said["cfg_truncation"]) == (1.0, 0.5)
    plain = identity(with_rules())
    assert identity(with_rules(cfg_normalization=0.0, cfg_truncation=1.0)) == plain  # which is to do nothing
    assert identity(with_rules(1.0, cfg_truncation=0.5)) == identity(with_rules(1.0))  # nothing to act on
    assert "cfg_truncation" not in suite.model.model_dump()
    other = suite.model_copy(update={"model": suite.model.model_copy(update={"cfg_truncation": 0.5})})
    with pytest.raises(UsageError, match="cfg_truncation applies only to family 'z_image', and this one is"):
        check_guidance(other, {})


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES[1:])
def test_runs_of_every_family(tmp_path: Path, said: list[str], family: str) -> None:
    """From a suite to pictures on the disk: methods together equal methods alone."""
    folder = family_pipeline(family, tmp_path / "pipeline")
    tiny_network(family, 5).save_pretrained(tmp_path / "tuned")
    kind = scheduler_of(family)
    suite = Suite.model_validate(
        {
            "name": "tiny",
            "model": {"family": family, "weights": str(folder)}
            | ({"embedded_guidance": 2.0} if family == "flux" else {}),
            "prompts": "unused",
            "samples": 2,
            "resolution": 32,
            "guidance": 1.0 if family == "flux" else 3.0,
            "sampler": {"scheduler": "DDPMScheduler" if kind == "EulerDiscreteScheduler" else kind, "steps": 4},
            "methods": {
                name: {"weights": str(tmp_path / "tuned")} | more
                for name, more in {"refl": {}, "combined": {"switch_step": 3}, "aig": {}}.items()
            },
            "metrics": {"lpips": {}},
        }
    )
    methods = ["base", "refl", "combined", "aig"]
    together = run(suite, tmp_path / "a", methods)
    assert len({sha256 for made in images(together).values() for sha256 in made.values()}) == 4 * 6
    norms = {store.manifest().method: store.norms() for store in together}
    assert {name: len(rows) for name, rows in norms.items()} == {"base": 0, "refl": 0, "combined": 0, "aig": 3 * 6}
    assert {row.step for row in norms["aig"]} == {1, 2, 3}
    (alone,) = run(suite, tmp_path / "b", ["combined"])
    assert images([alone])[alone.name] == images(together)[alone.name]
