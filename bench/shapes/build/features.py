"""Trains the small feature networks: a SqueezeNet trunk (LPIPS), a ViT (DreamSim) and a ResNet (FID).

All three learn to tell what a picture shows; only their features are kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import squeezenet1_1
from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTModel

from bench.shapes.build.bank import UNNAMED, Bank, bank
from bench.shapes.build.data import to_signed
from bench.shapes.build.parallel import Recipe, Worker, fit
from bench.shapes.captions import ATTRIBUTES, VALUES

SEED = 41
BATCH = 64
RECIPE = Recipe(steps=500, learning_rate=2e-3, warmup=50, ema=0.99, weight_decay=1e-2)
LPIPS_CHANNELS = (64, 128, 256, 384, 384, 512, 512)


class Readings(nn.Module):
    """Linear readings of all attributes and measures of a picture: the training signal, dropped afterwards."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(width, len(VALUES[a])) for a in ATTRIBUTES])
        self.measures = nn.Linear(width, 5)

    def forward(self, features: Tensor, classes: Tensor, measures: Tensor) -> Tensor:
        losses = [
            F.cross_entropy(head(features), classes[:, i], ignore_index=UNNAMED) for i, head in enumerate(self.heads)
        ]
        return torch.stack(losses).sum() + 10.0 * F.mse_loss(self.measures(features), measures)


class _Squeeze(nn.Module):
    """SqueezeNet 1.1's trunk with LPIPS's input scaling, averaged over the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.features = squeezenet1_1(weights=None).features
        self.shift = torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None]
        self.scale = torch.tensor([0.458, 0.448, 0.450])[None, :, None, None]

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.features((images - self.shift) / self.scale)
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


class _Vit(nn.Module):
    """A ViT read at its class token before the final norm, as DreamSim reads DINO."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = ViTModel(
            ViTConfig(
                hidden_size=96,
                num_hidden_layers=3,
                num_attention_heads=4,
                intermediate_size=288,
                image_size=64,
                patch_size=8,
            ),
            add_pooling_layer=False,
        )

    def forward(self, images: Tensor) -> Tensor:
        out = self.vit(pixel_values=images, output_hidden_states=True)
        return torch.as_tensor(out.hidden_states[-1][:, 0])


class _ResNet(nn.Module):
    """A small ResNet; the pooled output is the feature of the Frechet distance."""

    def __init__(self) -> None:
        super().__init__()
        self.net = ResNetModel(
            ResNetConfig(
                embedding_size=24,
                hidden_sizes=[24, 48, 64, 64],
                depths=[1, 1, 1, 1],
                layer_type="basic",
                downsample_in_first_stage=False,
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        return torch.as_tensor(self.net(pixel_values=images).pooler_output).flatten(1)


def _train(backbone: nn.Module, width: int, seen: Bank, name: str) -> None:
    torch.manual_seed(SEED)
    readings = Readings(width)
    both = nn.ModuleList([backbone, readings])
    rng = np.random.default_rng(SEED)

    def loss_of(step: int) -> Tensor:
        rows = torch.from_numpy(rng.integers(len(seen.scenes), size=BATCH))
        features = backbone(to_signed(seen.images[rows]))
        return torch.as_tensor(readings(features, seen.classes[rows], seen.measures[rows]))

    both.train()
    for _ in fit(both, loss_of, RECIPE, Worker(0, 1), name):
        pass
    both.eval()
    with torch.no_grad():
        features = torch.cat([backbone(to_signed(b)) for b in seen.images[-512:].split(64)])
        right = [(h(features).argmax(1) == seen.classes[-512:, i]).float().mean() for i, h in enumerate(readings.heads)]
    print(name, "attributes read right:", [round(float(r), 3) for r in right], flush=True)


def train(worker: Worker, out: Path) -> None:
    """Train all three in one process; write `out/lpips`, `out/dreamsim` and `out/inception`."""
    seen = bank(out, "train")
    torch.manual_seed(SEED)
    squeeze, vit, resnet = _Squeeze(), _Vit(), _ResNet()
    _train(squeeze, 1024, seen, "lpips")
    (out / "lpips").mkdir(exist_ok=True)
    state = {f"features.{k}": v.half().contiguous() for k, v in squeeze.features.state_dict().items()}
    # One weight for each channel of a layer: LPIPS's unweighted form, no human judgements exist for this world.
    state |= {f"lin{k}.model.1.weight": torch.full((1, c, 1, 1), 1.0 / c**0.5) for k, c in enumerate(LPIPS_CHANNELS)}
    save_file(state, out / "lpips" / "squeeze.safetensors")
    _train(vit, 96, seen, "dreamsim")
    vit.vit.eval().half().save_pretrained(out / "dreamsim")
    _train(resnet, 64, seen, "inception")
    resnet.net.eval().save_pretrained(out / "inception")
