"""TaylorSeer (Liu et al. 2025, arXiv 2503.06923): attention layers, extrapolated between the steps that run them.

At some steps a transformer's attention layers run, and their outputs and finite differences over those steps are kept;
at the others the outputs are the Taylor polynomial of what was kept. All else runs at every step. Which steps those are
depends on their number alone, and the polynomial on no other row, so that no image depends on its batch. The arithmetic
is that of diffusers' `TaylorSeerCacheConfig`, with factors in the precision of the outputs.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from bench.errors import UsageError

_ATTENTION = re.compile(r"(single_)?transformer_blocks.*attn")


def check_taylor_cache(module: Any) -> None:
    """UsageError unless the network is a transformer that calls its attention layers `attn`."""
    if not _attention_of(module):
        raise UsageError(
            "taylor_interval needs a transformer with attention layers 'transformer_blocks.N.attn', and the network is "
            f"a {type(module).__name__}"
        )


def _attention_of(module: nn.Module) -> dict[str, nn.Module]:
    return {name: part for name, part in module.named_modules() if _ATTENTION.fullmatch(name)}


@contextlib.contextmanager
def taylor_caching(
    module: nn.Module, step: Mapping[str, Any], features: dict[str, Tensor], network: str
) -> Iterator[None]:
    """Inside, the attention layers run and are kept in `features`, or are extrapolated from there.

    `step` has "order", the highest of the polynomial; "offset", how many steps ago the layers ran last (0: now); and
    "gap", how many steps lie between that and the time before (None: there was none). Each call within the context is
    another one of the step, with its own features. No tensor of `features` is written into.
    """
    layers = _attention_of(module)
    for name, layer in layers.items():
        layer.forward = _Layer(layer.forward, f"{network}|{name}", step, features).forward
    try:
        yield
    finally:
        for layer in layers.values():
            del layer.forward  # the one of its class is back


class _Layer:
    """The forward of one attention layer in one step."""

    def __init__(self, forward: Any, name: str, step: Mapping[str, Any], features: dict[str, Tensor]) -> None:
        self._forward, self._name, self._step, self._features = forward, name, step, features
        self._calls = 0

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As that of the layer: a tensor, or several."""
        key = f"{self._name}|{self._calls}"
        self._calls += 1
        if self._step["offset"]:
            return self._extrapolated(key)
        outputs = self._forward(*args, **kwargs)
        for index, value in enumerate((outputs,) if isinstance(outputs, Tensor) else outputs):
            self._keep(f"{key}|{index}", value)
        return outputs

    def _keep(self, key: str, value: Tensor) -> None:
        factors = [value]
        for order in range(self._step["order"]):
            before = self._features.get(f"{key}|{order}")
            if self._step["gap"] is None or before is None:
                break
            factors.append((factors[order] - before) / self._step["gap"])
        for order in range(self._step["order"] + 1):
            if order < len(factors):
                self._features[f"{key}|{order}"] = factors[order]
            else:
                self._features.pop(f"{key}|{order}", None)  # of an earlier stretch of steps

    def _extrapolated(self, key: str) -> Any:
        outputs: list[Tensor] = []
        while f"{key}|{len(outputs)}|0" in self._features:
            factors = (self._features.get(f"{key}|{len(outputs)}|{n}") for n in range(self._step["order"] + 1))
            terms = (
                factor * (self._step["offset"] ** n / math.factorial(n))
                for n, factor in enumerate(factors)
                if factor is not None
            )
            total = next(terms)
            for term in terms:
                total = total + term
            outputs.append(total)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)
