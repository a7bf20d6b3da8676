"""The loop on every family: each method equals a plain loop, whatever is shared, in any order, batch and company."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from bench.models.load import load_model
from bench.sampling.loop import Batch, as_batch, evaluations_per_step, run_tree, steps_of
from bench.sampling.noise import generators, initial_noise
from bench.sampling.tree import Action, actions_of, build_tree, executed
from tests.tolerance import assert_close
from tests.unit.bench.models.families import family_pipeline, tiny_network
from tests.unit.bench.models.tiny import tiny_suite

ITEMS = [("p1", "a red circle", 0), ("p1", "a red circle", 1), ("p2", "a large star", 0)]
STEPS = 6
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("sdxl", "EulerDiscreteScheduler", {}),
    ("sdxl", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("pixart", "DPMSolverMultistepScheduler", {}),
    ("sd3", "FlowMatchEulerDiscreteScheduler", {}),
    ("sd3", "FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}),
    ("sd3", "FlowMatchHeunDiscreteScheduler", {}),
    ("sd3", "UniPCMultistepScheduler", FLOW),
    ("flux", "FlowMatchEulerDiscreteScheduler", {}),
    ("flux", "DPMSolverMultistepScheduler", FLOW),
    ("flux2", "FlowMatchEulerDiscreteScheduler", {}),
    ("z_image", "FlowMatchEulerDiscreteScheduler", {}),
    ("qwen_image", "FlowMatchEulerDiscreteScheduler", {}),
    ("sana", "DPMSolverMultistepScheduler", FLOW),
]
WEIGHTS: dict[str, list[float]] = {
    "base": [0.0] * STEPS,
    "refl": [1.0] * STEPS,
    "combined": [0.0] * 4 + [1.0] * 2,
    "early": [0.0] * 2 + [1.0] * 4,
    "reversed": [1.0] * 4 + [0.0] * 2,
    "aig": [i / STEPS for i in range(STEPS)],
    "scaled": [0.5] * STEPS,
}
case_ids = [f"{case[0]}-{case[1]}-{len(case[2])}" for case in CASES]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    families = dict.fromkeys(case[0] for case in CASES)
    for family in families:
        tiny_network(family, 5).save_pretrained(root / f"{family}-tuned")
    return {family: family_pipeline(family, root / family) for family in families}


def model_of(folders: dict[str, Path], case: tuple[str, str, dict[str, Any]], tuned: Path | None = None) -> Any:
    family, scheduler, options = case
    suite = tiny_suite(scheduler, STEPS, options=options)
    suite.model.family = family
    model: Any = load_model(folders[family], suite)
    model.add_network("tuned", tuned or folders[family].parent / f"{family}-tuned")
    return model


def methods_of(family: str) -> dict[str, tuple[Action, ...]]:
    guidance = 1.0 if family == "flux" else 4.0
    return {name: actions_of(weights, ("base", guidance), ("tuned", 1.0)) for name, weights in WEIGHTS.items()}


def finals(model: Any, methods: dict[str, tuple[Action, ...]], batch: Batch) -> dict[str, Tensor]:
    return {name: z for names, z in run_tree(model, build_tree(methods), batch) for name in names}


@dataclass(frozen=True)
class Case:
    """A model, the methods on it, and the final latents of all of them together."""

    family: str
    model: Any
    methods: dict[str, tuple[Action, ...]]
    batch: Batch
    together: dict[str, Tensor]


@pytest.fixture(scope="module", params=CASES, ids=case_ids)
def case(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Case:
    model, methods = model_of(folders, request.param), methods_of(request.param[0])
    batch = as_batch(model, 7, ITEMS)
    return Case(request.param[0], model, methods, batch, finals(model, methods, batch))


@torch.inference_mode()
def plain_loop(model: Any, weights: list[float], batch: Batch) -> Tensor:
    """prediction = (1 - w) base + w tuned, one method alone; the networks' predictions are proven beside diffusers."""
    scheduler = model.new_scheduler()
    z = initial_noise(7, batch.prompt_ids, batch.samples, model.latents_shape)
    z = z * getattr(scheduler, "init_noise_sigma", 1.0)
    guidance = 1.0 if model.family == "flux" else 4.0
    for index, t in enumerate(scheduler.timesteps):
        # Second order: the first half of the places and a half of the next belong to one step each.
        w = weights[index // getattr(scheduler, "order", 1)]
        x = scheduler.scale_model_input(z, t) if hasattr(scheduler, "scale_model_input") else z
        prediction = torch.zeros(())
        if w < 1.0:
            base = model.predict("base", x, t, batch.cond, guidance)
            prediction = base if w == 0.0 else (1 - w) * base
        if w > 0.0:
            tuned = model.predict("tuned", x, t, batch.cond, 1.0)
            prediction = tuned if w == 1.0 else prediction + w * tuned
        noise = generators(7, batch.prompt_ids, batch.samples, index + 1)
        extra = {"generator": noise} if "generator" in scheduler.step.__code__.co_varnames else {}
        z = scheduler.step(prediction, t, z, **extra).prev_sample
    return z


@pytest.mark.slow
def test_every_method_equals_a_plain_loop_whatever_is_shared(case: Case) -> None:
    model, methods, batch, together = case.model, case.methods, case.batch, case.together
    backwards = finals(model, dict(reversed(methods.items())), batch)
    assert len({tuple(value.flatten().tolist()) for value in together.values()}) == len(methods)
    for name, weights in WEIGHTS.items():
        assert torch.equal(together[name], plain_loop(model, weights, batch)), name
        assert torch.equal(together[name], finals(model, {name: methods[name]}, batch)[name]), name
        assert torch.equal(together[name], backwards[name]), name


@pytest.mark.slow
def test_batches_of_another_size_move_the_last_bits_only(case: Case) -> None:
    model, methods, whole = case.model, case.methods, case.together
    for index in (1, 2):
        alone = finals(model, methods, as_batch(model, 7, [ITEMS[index]]))
        for name in methods:
            assert_close(alone[name][0], whole[name][index])
            a, b = model.decode(alone[name]).int()[0], model.decode(whole[name]).int()[index]
            assert int((a - b).abs().max()) <= 1
            assert float((a != b).float().mean()) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sdxl", "sd3"])
def test_a_lora_is_switched_within_the_tree(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    """One network, the adapter on and off at every switch: base is what it is without the LoRA, bit for bit."""
    case = next(case for case in CASES if case[0] == family)
    network = tiny_network(family)
    network.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"]), "x")
    for name, value in network.named_parameters():
        if "lora_" in name:
            value.data.normal_()
    part = "unet" if family == "sdxl" else "transformer"
    state = get_peft_model_state_dict(network, adapter_name="x")
    save_file({f"{part}.{key}": value.contiguous() for key, value in state.items()}, tmp_path / "lora.safetensors")
    model, methods = model_of(folders, case, tmp_path / "lora.safetensors"), methods_of(family)
    plain = model_of(folders, case)
    batch = as_batch(model, 7, ITEMS)
    together = finals(model, methods, batch)
    assert torch.equal(together["base"], finals(plain, {"base": methods["base"]}, batch)["base"])
    for name, weights in WEIGHTS.items():
        assert torch.equal(together[name], plain_loop(model, weights, batch)), name
    assert model.networks["tuned"].module is model.networks["base"].module


@pytest.mark.slow
def test_what_is_executed_is_what_the_tree_costs(folders: dict[str, Path]) -> None:
    from collections import Counter

    model, methods = model_of(folders, CASES[0]), methods_of("sdxl")
    tree, counted = build_tree(methods), Counter[str]()
    list(run_tree(model, tree, as_batch(model, 7, ITEMS), counted))
    assert dict(counted) == {name: count * len(ITEMS) for name, count in executed(tree).items() if count}
    heun = model_of(folders, CASES[5]).new_scheduler()
    assert evaluations_per_step(heun) == (2,) * (STEPS - 1) + (1,)
    assert steps_of(heun) == STEPS


@pytest.mark.slow
def test_true_guidance_on_flux_is_two_evaluations(folders: dict[str, Path]) -> None:
    case = next(case for case in CASES if case[0] == "flux")
    model = model_of(folders, case)
    cond = model.encode(["a star"])
    z = initial_noise(7, ["a"], [0], model.latents_shape)
    with torch.inference_mode():
        with_text = model.predict("base", z, torch.tensor(500.0), cond, 1.0)
        without = model.predict("base", z, torch.tensor(500.0), model.encode([""]), 1.0)
        guided = model.predict("base", z, torch.tensor(500.0), cond, 3.0)
        assert torch.equal(guided, without + 3.0 * (with_text - without))
        model.embedded_guidance = 1.0
        assert not torch.equal(model.predict("base", z, torch.tensor(500.0), cond, 1.0), with_text)


def test_a_scheduler_with_noise_of_its_own_is_refused(folders: dict[str, Path]) -> None:
    from bench.errors import UsageError

    with pytest.raises(UsageError, match="draws its own noise"):
        model_of(folders, ("sdxl", "DPMSolverSDEScheduler", {}))
