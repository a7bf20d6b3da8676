"""Memory and time of going back through Stable Diffusion's autoencoder, keeping activations or computing them again.

    python benchmarks/decoder_memory.py [--pixels 512]

Random weights, float32, CPU, one picture; each way in a process of its own, memory as the growth of its peak. About
two minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time


def measure(again: bool, pixels: int) -> dict[str, float]:
    """Peak growth in MiB, processor seconds, and the gradient's norm, of one way in this process."""
    import resource
    from types import SimpleNamespace

    import torch
    from diffusers import AutoencoderKL

    from bench.training.network import checkpoint_decoder

    torch.set_num_threads(1)
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
    ).requires_grad_(False)
    if again:
        checkpoint_decoder(SimpleNamespace(vae=vae))
    latents = torch.randn(1, 4, pixels // 8, pixels // 8, requires_grad=True)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    image = vae.decode(latents, return_dict=False)[0]
    (image * torch.linspace(0, 1, pixels)).mean().backward()
    assert latents.grad is not None
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"mib": peak, "seconds": time.process_time() - began, "gradient": float(latents.grad.double().norm())}


def main() -> int:
    """Measure both ways; 1 if their gradients differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--again", type=int, choices=[0, 1], default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.again is not None:
        print(json.dumps(measure(bool(given.again), given.pixels)))
        return 0
    found = []
    for again, name in ((0, "kept"), (1, "computed again")):
        command = [sys.executable, __file__, "--pixels", str(given.pixels), "--again", str(again)]
        found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(f"{name}: {found[-1]['mib']:,.0f} MiB, {found[-1]['seconds']:.1f} s, gradient {found[-1]['gradient']!r}")
    return 0 if found[0]["gradient"] == found[1]["gradient"] else 1


if __name__ == "__main__":
    sys.exit(main())
