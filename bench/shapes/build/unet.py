"""Trains the generator's network: v-prediction in the 8 x 8 x 16 latents, captions by cross-attention."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from bench.shapes.build.data import pictures, to_signed
from bench.shapes.build.parallel import Recipe, Worker, compiled, fit, load_average
from bench.shapes.build.text import tokenize
from bench.shapes.captions import random_caption
from bench.shapes.world import Scene

SEED = 31
BATCH = 64
PICTURES = 16_000
CAPTION_DROPOUT = 0.1
ROUNDS = (
    Recipe(steps=5_000, learning_rate=1.8e-3, warmup=300, ema=0.999, weight_decay=1e-3),
    Recipe(steps=9_000, learning_rate=1.5e-3, warmup=300, ema=0.999, weight_decay=1e-3),
)
"""Each round starts from the averaged weights of the one before, and is kept as `<out>-<round>`: a killed build goes on
from its last whole round."""
SAVE_EVERY = 1_000


def new_unet() -> UNet2DConditionModel:
    """The untrained network: 2.5 M parameters."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=16,
        out_channels=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 96),
        layers_per_block=1,
        cross_attention_dim=64,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def new_scheduler() -> DDPMScheduler:
    """Stable Diffusion's noise schedule, rescaled to end in pure noise, for v-prediction."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


class CaptionTable:
    """Encodes each distinct caption once."""

    def __init__(self, tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
        self._tokenizer, self._encoder = tokenizer, encoder
        self._known: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> Tensor:
        """Hidden states [N, 24, 64]."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            states = self._encoder(tokenize(self._tokenizer, new)).last_hidden_state
            self._known.update(zip(new, states, strict=True))
        return torch.stack([self._known[text] for text in texts])


@torch.no_grad()
def encoded_world(parts: Path, rng: np.random.Generator) -> tuple[list[Scene], Tensor]:
    """The training pictures' scenes and scaled latents [N, 16, 8, 8]; encoded once, then read from `parts`."""
    scenes, images = pictures(PICTURES, rng)
    path = parts / "latents.safetensors"
    if not path.exists():
        vae = AutoencoderKL.from_pretrained(parts / "vae").eval()
        latents = torch.cat([vae.encode(to_signed(batch)).latent_dist.mean for batch in images.split(64)])
        save_file({"latents": (latents * vae.config.scaling_factor).contiguous()}, path)
    return scenes, load_file(path)["latents"]


def draw_times(count: int) -> Tensor:
    """Times in 0..999: half uniform, half logit-normal (Esser et al. 2024, arXiv 2403.03206), where outlines form."""
    middle = (torch.randn(count).sigmoid() * 1000).long().clamp(0, 999)
    return torch.where(torch.rand(count) < 0.5, middle, torch.randint(0, 1000, (count,)))


def train(worker: Worker, out: Path) -> None:
    """Train on the frozen autoencoder and text encoder beside `out`, round by round, and write `out`."""
    parts = out.parent
    encoder = CLIPTextModel.from_pretrained(parts / "text_encoder").eval()
    captions = CaptionTable(CLIPTokenizer.from_pretrained(parts / "tokenizer"), encoder)
    scenes, latents = encoded_world(parts, np.random.default_rng(SEED * 1000))
    scheduler = new_scheduler()
    scheduler.save_pretrained(parts / "scheduler")
    torch.manual_seed(SEED)
    unet = new_unet().to(memory_format=torch.channels_last)
    network = compiled(unet)
    for number, recipe in enumerate(ROUNDS, 1):
        kept = out.with_name(f"{out.name}-{number}")
        if (kept / "config.json").exists():
            unet.load_state_dict(UNet2DConditionModel.from_pretrained(kept).state_dict())
            continue
        rng = np.random.default_rng([worker.seed(SEED), number])
        torch.manual_seed(worker.seed(SEED) * len(ROUNDS) + number)
        share = worker.share(BATCH)

        def loss_of(step: int, rng: np.random.Generator = rng, share: int = share) -> Tensor:
            chosen = rng.integers(len(scenes), size=share)
            texts = ["" if rng.random() < CAPTION_DROPOUT else random_caption(scenes[i], rng) for i in chosen]
            clean = latents[torch.from_numpy(chosen)]
            noise = torch.randn_like(clean)
            times = draw_times(share)
            noisy = scheduler.add_noise(clean, noise, times)
            predicted = network(noisy, times, captions(texts)).sample
            return F.mse_loss(predicted, scheduler.get_velocity(clean, noise, times))

        average: list[Tensor] = []
        for step in fit(unet, loss_of, recipe, worker, f"unet {number}", average):
            if worker.leads and (step + 1) % SAVE_EVERY == 0:
                snapshot = copy.deepcopy(unet)
                load_average(list(snapshot.parameters()), average)
                snapshot.save_pretrained(out.with_name(f"{out.name}-{number}-{step + 1}"))
        if worker.leads:
            unet.save_pretrained(kept)
    if worker.leads:
        unet.save_pretrained(out)
