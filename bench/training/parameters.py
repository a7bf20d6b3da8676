"""Which weights of a network learn: the recipe's `learn`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from bench.errors import UsageError


def learning(module: nn.Module, parameters: Mapping[str, nn.Parameter], learn: str) -> dict[str, nn.Parameter]:
    """Those of `parameters` (of `module`, by name) that learn, in the module's order.

    | learn | what |
    |---|---|
    | all | every weight |
    | norms | scale and shift of normalisation layers: what gets a gradient when a rollout without gradient and the step
      with gradient share one autocast context whose weight cache is on (torch 2.5 to 2.7) |
    | attention | every weight of attention blocks, their output projections included |
    | cross_attention | those of attention to the text (diffusers' `attn2`), as in ESD-x (arXiv 2303.07345) |

    Raises UsageError where the network has no weight of that kind.
    """
    if learn == "all":
        return dict(parameters)
    owners = _owners(module, learn)
    chosen = {
        name: value for name, value in parameters.items() if any(name.startswith(f"{owner}.") for owner in owners)
    }
    if not chosen:
        raise UsageError(
            f"learn={learn} matches no weights of the {type(module).__name__}: "
            "a network whose text and image tokens share their attention has no cross-attention; use learn=attention."
            if learn == "cross_attention"
            else f"learn={learn} matches no weights of the {type(module).__name__}: use learn=all."
        )
    return chosen


def _owners(module: nn.Module, learn: str) -> tuple[str, ...]:
    """Names of the modules whose weights learn."""
    if learn == "norms":
        # Leaves only: what diffusers calls AdaLayerNorm holds linear layers beside its normalisation.
        return tuple(name for name, part in module.named_modules() if "Norm" in type(part).__name__ and _is_leaf(part))
    named = [name for name, part in module.named_modules() if type(part).__name__.endswith("Attention")]
    if learn == "cross_attention":
        named = [name for name in named if name.rpartition(".")[2] == "attn2"]
    return tuple(named)


def _is_leaf(part: nn.Module) -> bool:
    return next(part.children(), None) is None
