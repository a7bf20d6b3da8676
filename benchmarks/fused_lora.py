"""What a fused LoRA saves and changes, at Stable Diffusion 1.5's depth: operations, seconds, values, weights.

    python benchmarks/fused_lora.py [--rank R] [--images N]

The UNet has all layers of the published one, ten times as narrow: the number of operations does not depend on the
width. The LoRA (attention, random factors) runs switched and fused in turn, in
float32 and in bfloat16.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from torch.utils._python_dispatch import TorchDispatchMode

from bench.models.adapters.base_weights import base_places
from bench.models.adapters.install import adapter_layers
from bench.models.adapters.merge import fuse, merged
from bench.models.base import Network
from bench.models.networks import Networks

ROUNDS = 9


class Operations(TorchDispatchMode):
    """Counts what torch runs."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one and run it."""
        self.count += 1
        return func(*args, **(kwargs or {}))


def with_lora(dtype: torch.dtype, rank: int) -> tuple[Any, Networks]:
    """A UNet with a LoRA that is there twice: switched ("tuned") and fused ("fused")."""
    torch.manual_seed(0)
    facts = {"block_out_channels": (32, 64, 128, 128), "cross_attention_dim": 64, "attention_head_dim": 8}
    unet = UNet2DConditionModel(sample_size=32, **facts).to(dtype)
    unet.add_adapter(LoraConfig(r=rank, target_modules=["to_q", "to_k", "to_v", "to_out.0"]), "lora")
    for layer in adapter_layers(unet):
        layer.lora_B["lora"].weight.data.normal_(std=0.05)
    fuse(unet, "lora", "fused")
    networks = {"base": Network(unet), "tuned": Network(unet, "lora"), "fused": Network(unet, "fused")}
    ready = Networks(unet, torch.device("cpu"), networks)
    ready.loaded(networks["fused"])
    return unet, ready


@torch.inference_mode()
def measure(dtype: torch.dtype, rank: int, images: int) -> None:
    """Print a row for each of the three networks."""
    unet, ready = with_lora(dtype, rank)
    torch.manual_seed(1)
    latents, text = torch.randn(images, 4, 32, 32, dtype=dtype), torch.randn(images, 77, 64, dtype=dtype)

    def run(name: str) -> torch.Tensor:
        output: torch.Tensor = ready.ready(name)(latents, torch.tensor(5), encoder_hidden_states=text).sample
        return output

    seconds: dict[str, list[float]] = {name: [] for name in ("base", "tuned", "fused")}
    for _ in range(ROUNDS):
        for name, times in seconds.items():
            began = time.perf_counter()
            run(name)
            times.append(time.perf_counter() - began)
    base, tuned = run("base").float(), run("tuned").float()
    moved = float((tuned - base).norm())
    print(f"{str(dtype)[6:]}: the LoRA moves the prediction by {100 * moved / float(base.norm()):.1f} %")
    for name, times in seconds.items():
        with Operations() as operations:  # type: ignore[no-untyped-call]
            run(name)
        off = float((run(name).float() - tuned).norm()) / moved
        print(
            f"| {str(dtype)[6:]} | {name} | {operations.count:,} | {1000 * statistics.median(times):.0f} | {off:.1e} |"
        )
    tell_of_weights(unet, dtype)


def tell_of_weights(unet: Any, dtype: torch.dtype) -> None:
    """What rounding leaves of the LoRA in the fused weights, and what subtracting it would leave of the base's."""
    before = {name: place.value.clone() for name, place in base_places(unet).items()}
    lost = added = changed = values = 0.0
    for name, value in merged(unet, "lora").items():
        values += value.numel()
        layer = unet.get_submodule(name.removesuffix(".weight")) if name.endswith(".weight") else None
        if layer is None:
            continue
        exact = layer.get_delta_weight("lora").double()
        added += float(exact.square().sum())
        lost += float((value.double() - before[name].double() - exact).square().sum())
        changed += int((value - layer.get_delta_weight("lora") != before[name]).sum())
    print(
        f"{str(dtype)[6:]}: rounding changes the LoRA by {100 * (lost / added) ** 0.5:.2g} % of its norm; subtracting "
        f"it again would leave {100 * changed / values:.1f} % of the {values:,.0f} weights changed"
    )
    after = base_places(unet)
    assert all(torch.equal(value, after[name].value) for name, value in before.items()), "the base network changed"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--images", type=int, default=1)
    given = parser.parse_args()
    print("| dtype | network | operations | ms, median | off the switched one, as a share of what the LoRA moves |")
    print("| --- | --- | ---: | ---: | ---: |")
    for dtype in (torch.float32, torch.bfloat16):
        measure(dtype, given.rank, given.images)


if __name__ == "__main__":
    main()
