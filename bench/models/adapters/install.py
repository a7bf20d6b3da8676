"""Puts an adapter into a network through PEFT's layer classes, around the layers themselves.

Each layer is given its own rank and alpha. PEFT's way to choose layers (names' endings, regular expressions) is not
used: an ending such as "proj_out" means several layers of FLUX.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from bench.models.adapters.base_weights import base_places
from bench.models.adapters.factors import Change, Factors
from bench.models.adapters.patches import patches_of


def install(network: Any, adapter: str, change: Change) -> None:
    """Add what an adapter changes in a network under its name.

    What is added is frozen, in the network's dtype, and switched off.
    """
    with torch.random.fork_rng(devices=[]):  # PEFT draws first values, which the file's replace
        for path, factors in change.layers.items():
            _add_layer(network, path, adapter, factors, change.strength)
    if change.weights:
        held = patches_of(network, make=True)
        assert held is not None
        held.add(adapter, base_places(network), change.weights)
    configs = dict(getattr(network, "peft_config", None) or {})
    network.peft_config = configs | {adapter: _config_of(change.layers)}
    network.eval().requires_grad_(False)
    for layer in adapter_layers(network):
        layer.enable_adapters(False)


def uninstall(network: Any, adapter: str) -> None:
    """Take an adapter out again; layers that were put around others stay, and do nothing."""
    for layer in adapter_layers(network):
        layer.delete_adapter(adapter)
    if (held := patches_of(network)) is not None:
        held.remove(adapter)
    configs = dict(getattr(network, "peft_config", None) or {})
    configs.pop(adapter, None)
    network.peft_config = configs


def lay_out(network: nn.Module) -> None:
    """After a network was brought into another memory layout: DoRA of PEFT takes its factors in the plain one alone."""
    for layer in adapter_layers(network):
        for adapter in getattr(layer, "lora_variant", {}):
            for factor in (layer.lora_A[adapter], layer.lora_B[adapter]):
                factor.weight.data = factor.weight.data.contiguous()


def adapter_layers(network: nn.Module) -> Iterator[Any]:
    """All layers of PEFT in a network."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return (module for module in network.modules() if isinstance(module, BaseTunerLayer))


def layer_of(network: nn.Module, path: str, kind: str) -> Any:
    """The layer of PEFT for a kind of adapter around the layer at `path`; None if there is none."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    module = network.get_submodule(path)
    while isinstance(module, BaseTunerLayer):
        if isinstance(module, _classes(kind)):
            return module
        module = module.base_layer
    return None


def _classes(kind: str) -> tuple[type[Any], type[Any]]:
    """PEFT's layer around a linear layer, and around a convolution."""
    from peft.tuners import loha, lokr, lora, oft

    module = {"lora": lora.layer, "loha": loha.layer, "lokr": lokr.layer, "oft": oft.layer}[kind]
    return module.Linear, module.Conv2d


def _add_layer(network: nn.Module, path: str, adapter: str, factors: Factors, strength: float) -> None:
    config, rank = layer_config(factors), factors.rank or factors.inner_rank or 1
    sizes: dict[str, Any] = {"r": rank}
    if factors.kind != "oft":
        # alpha in PEFT's own sense, so that asking a layer for its scale gives the one that was trained
        alpha = rank if factors.alpha is None else factors.alpha
        sizes["lora_alpha" if factors.kind == "lora" else "alpha"] = alpha
    else:
        size = _block_size(factors)
        config.oft_block_size, sizes["r"] = size, 0
    layer = layer_of(network, path, factors.kind)
    if layer is None:
        innermost, holder, name = _innermost(network, path)
        linear, convolution = _classes(factors.kind)
        made = linear if isinstance(innermost, nn.Linear) else convolution
        layer = made(innermost, adapter, config=config, **sizes)
        setattr(holder, name, layer)
    else:
        layer.update_layer(adapter, config=config, **sizes)
    _fill(layer, adapter, factors)
    if factors.kind != "oft":
        layer.scaling[adapter] = factors.scale * strength


def layer_config(factors: Factors) -> Any:
    """PEFT's configuration of one layer."""
    from peft import LoHaConfig, LoKrConfig, LoraConfig, OFTConfig

    if factors.kind == "lora":
        return LoraConfig(
            init_lora_weights=False,
            use_rslora=factors.rank_stabilised,
            use_dora="magnitude" in factors.tensors,
            lora_bias="B_bias" in factors.tensors,
        )
    if factors.kind == "loha":
        return LoHaConfig(init_weights=False, use_effective_conv2d="t1" in factors.tensors)
    if factors.kind == "lokr":
        return LoKrConfig(init_weights=False)
    return OFTConfig(**{key: value for key, value in factors.options.items() if key != "current"})


def _block_size(factors: Factors) -> int:
    """Size of the rotations from the number of values above their diagonal."""
    return int((1 + math.isqrt(1 + 8 * factors.tensors["R"].shape[1])) // 2)


def _innermost(network: nn.Module, path: str) -> tuple[nn.Module, nn.Module, str]:
    """The network's own layer at a path, and the module and attribute that hold it."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    above, _, name = path.rpartition(".")
    holder: nn.Module = network.get_submodule(above)
    module = holder.get_submodule(name)
    while isinstance(module, BaseTunerLayer):
        holder, name, module = module, "base_layer", module.base_layer
    return module, holder, name


def _fill(layer: Any, adapter: str, factors: Factors) -> None:
    """Put the file's values in the place of the first ones, on the layer's device and in its dtype."""
    weight = layer.get_base_layer().weight
    values = {name: value.to(weight.device, weight.dtype) for name, value in factors.tensors.items()}
    if factors.kind == "lora":
        layer.lora_A[adapter].weight.data = values["A"].contiguous()
        layer.lora_B[adapter].weight.data = values["B"].contiguous()
        if "B_bias" in values:
            layer.lora_B[adapter].bias.data = values["B_bias"]
        if "magnitude" in values:
            part = layer.lora_magnitude_vector[adapter]
            part.weight.data = values["magnitude"].reshape(part.weight.shape)
    elif factors.kind == "oft":
        layer.oft_R[adapter].weight.data = values["R"].contiguous()
    else:
        prefix = "hada_" if factors.kind == "loha" else "lokr_"
        for name in layer.adapter_layer_names:
            held = getattr(layer, name)
            if adapter in held:
                del held[adapter]
            if (value := values.get(name.removeprefix(prefix))) is not None:
                held[adapter] = nn.Parameter(value.contiguous(), requires_grad=False)


def _config_of(layers: Mapping[str, Factors]) -> Any:
    """One configuration of PEFT for the whole adapter: what it would write beside the file.

    Rank and alpha that most layers have, and patterns for the others; layers by their whole paths.
    """
    from collections import Counter

    from peft import LoHaConfig, LoKrConfig, LoraConfig, OFTConfig

    if not layers:
        return LoraConfig(target_modules=[])
    kind = Counter(factors.kind for factors in layers.values()).most_common(1)[0][0]
    own = {path: factors for path, factors in layers.items() if factors.kind == kind}
    ranks = {path: factors.rank or factors.inner_rank or 1 for path, factors in own.items()}
    alphas = {path: ranks[path] if one.alpha is None else one.alpha for path, one in own.items()}
    rank, alpha = Counter(ranks.values()).most_common(1)[0][0], Counter(alphas.values()).most_common(1)[0][0]
    common: dict[str, Any] = {
        "r": rank,
        "target_modules": sorted(own),
        "rank_pattern": {f"^{path}": value for path, value in ranks.items() if value != rank},
        "alpha_pattern": {f"^{path}": value for path, value in alphas.items() if value != alpha},
    }
    if kind == "lora":
        return LoraConfig(
            lora_alpha=alpha,
            use_rslora=any(one.rank_stabilised for one in own.values()),
            use_dora=any("magnitude" in one.tensors for one in own.values()),
            lora_bias=any("B_bias" in one.tensors for one in own.values()),
            **common,
        )
    if kind == "oft":
        return OFTConfig(target_modules=sorted(own), r=0, oft_block_size=_block_size(next(iter(own.values()))))
    return (LoHaConfig if kind == "loha" else LoKrConfig)(alpha=alpha, **common)
