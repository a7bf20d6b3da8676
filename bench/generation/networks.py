"""The networks that the runs of a call need, by name, and what each denoising step runs of them."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.methods.conditions import conditions_of
from bench.models.weights import resolve
from bench.sampling.guided_steps import with_block_cache, with_coupling, with_guider, with_reuse, with_taylor
from bench.sampling.tree import Action, actions_of
from bench.suite.plan import FUSED, RunPlan, hash8, how_read

if TYPE_CHECKING:
    from bench.models.base import DiffusionModel
    from bench.suite.schema import Suite


def actions_for(plan: RunPlan, steps: int, embedded: Container[str] = ()) -> tuple[Action, ...]:
    """What each denoising step of a plan runs; the tuned network is called by the digest of its weights.

    Networks in `embedded` take their guidance as an input, in one evaluation.
    """
    guidance = plan.identity["guidance"]
    sides = {
        side: (name := _network_name(plan, side), float(value), name in embedded) for side, value in guidance.items()
    }
    base = sides.get("base", ("base", 1.0, False))
    actions = actions_of(plan.method.weights_at(steps), base, sides.get("tuned"))
    guided = with_guider(actions, plan.method.guider, _weak_name(plan))
    cached = with_block_cache(with_reuse(guided, plan.method.cache_interval), plan.method.threshold)
    method = plan.method
    seen = with_taylor(cached, method.taylor_interval, method.taylor_order or 0, method.taylor_warmup or 1)
    return with_coupling(seen, method.coupling)


def _weak_name(plan: RunPlan) -> str:
    """What the weak network of autoguidance is called; "" without one."""
    weak = str(plan.identity.get("guider", {}).get("weak") or "")
    if plan.method.guider.skipped is None:
        return weak
    # Exactly one side is guided: `Guider.check` refuses the rest.
    side = next(side for side, value in plan.identity["guidance"].items() if float(value) > 1.0)
    return f"{_network_name(plan, side)}|{weak}"


def _plain_name(plan: RunPlan, side: str) -> str:
    """What a side's network is called without prompt conditions."""
    if side == "base":
        return "base"
    return f"{plan.identity['tuned']}|{FUSED}" if plan.identity.get(FUSED) else str(plan.identity["tuned"])


def _network_name(plan: RunPlan, side: str) -> str:
    """What a side's network is called: a fused LoRA and prompt conditions make it another one."""
    plain = _plain_name(plan, side)
    conditions = plan.identity.get("conditions", {}).get(side)
    name = f"{plain}|{hash8(conditions)}" if conditions else plain
    return f"{name}|{plan.method.precision}" if plan.method.precision else name


def _full_precision(plan: RunPlan, side: str) -> str:
    name = _network_name(plan, side)
    return name.removesuffix(f"|{plan.method.precision}") if plan.method.precision else name


def embedded_networks(model: DiffusionModel) -> frozenset[str]:
    """Names of the networks that take their guidance as an input."""
    return frozenset(name for name, network in model.networks.items() if network.guidance_is_embedded)


def ability(model: DiffusionModel, plan: RunPlan, name: str) -> Callable[..., Any]:
    """What a model can do that a family of one's own need not have. Raises UsageError where it has not."""
    found: Callable[..., Any] | None = getattr(model, name, None)
    if found is None:
        family = plan.identity.get("family", type(model).__name__)
        raise UsageError(
            f"method '{plan.method.name}' needs {name}, which the model of family '{family}' does not have: leave the "
            "method out, or add it to the family"
        )
    return found


def add_networks(model: DiffusionModel, plan: RunPlan, suite: Suite) -> None:
    """The tuned network of a run, and both sides' networks under its prompt conditions."""
    method = plan.method
    if plan.identity["tuned"] is not None:
        # A family of one's own may have an `add_network` that knows nothing of text encoders.
        more = {"ignore_text": True} if method.text_encoder == "ignore" else {}
        _add_tuned(model, plan, more)
        if plan.identity.get(FUSED):
            ability(model, plan, "add_fused")(_plain_name(plan, "tuned"), str(plan.identity["tuned"]))
    conditions = conditions_of(suite, method)
    for side in plan.identity.get("conditions", {}):
        acting = conditions.on_side(float(plan.identity["guidance"][side]))
        files = {token: resolve(weights) for token, weights in acting.embeddings}
        ability(model, plan, "add_conditions")(_full_precision(plan, side), _plain_name(plan, side), acting, files)
    for side in plan.identity["guidance"] if method.precision else ():
        ability(model, plan, "add_int8")(_network_name(plan, side), _full_precision(plan, side))
    _check_caches(model, plan)
    _add_weak(model, plan)


def _add_tuned(model: DiffusionModel, plan: RunPlan, more: Mapping[str, Any]) -> None:
    """The tuned network: one checkpoint, or the average of several."""
    method, name = plan.method, str(plan.identity["tuned"])
    if not method.parts:
        model.add_network(name, resolve(str(method.weights)), method.lora_scale, **more)
        return
    add_soup = ability(model, plan, "add_soup")
    parts = [(weights, f"{weights}{how_read(method)}", share) for weights, share in method.parts]
    for weights, part, _ in parts:
        model.add_network(part, resolve(weights), method.lora_scale, **more)
    add_soup(name, [(part, share) for _, part, share in parts])


def _check_caches(model: DiffusionModel, plan: RunPlan) -> None:
    """UsageError for a cache of features on a network that has no such layers."""
    from bench.models.block_cache import check_block_cache  # these import torch
    from bench.models.reuse import check_reuse
    from bench.models.taylor_cache import check_taylor_cache

    method = plan.method
    settings = (method.cache_interval, method.threshold, method.taylor_interval)
    checks = (check_reuse, check_block_cache, check_taylor_cache)
    for check in [check for check, given in zip(checks, settings, strict=True) if given is not None]:
        for side in plan.identity["guidance"]:
            check(model.networks[_network_name(plan, side)].module)


def _add_weak(model: DiffusionModel, plan: RunPlan) -> None:
    """The weak network of autoguidance: other weights, or the guided side's network with blocks left out."""
    guider, name = plan.method.guider, _weak_name(plan)
    if guider.weak_weights is not None:
        model.add_network(name, resolve(guider.weak_weights))
    elif guider.skipped is not None:
        ability(model, plan, "add_weak")(name, name.rpartition("|")[0], guider.skipped)
