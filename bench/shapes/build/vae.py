"""Trains the autoencoder: 64 x 64 x 3 pixels <-> 8 x 8 x 16 latents of unit variance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from bench.shapes.build.data import pictures, to_signed
from bench.shapes.build.parallel import Recipe, Worker, fit

SEED = 11
KL_WEIGHT = 1e-4
BATCH = 16
INK_WEIGHT = 8.0
"""Extra weight of a fully coloured pixel: shapes cover few pixels, and unweighted training stays grey for long."""
PHASES = (
    Recipe(steps=3500, learning_rate=2e-3, warmup=60, ema=0.995),
    Recipe(steps=1600, learning_rate=1.6e-3, warmup=60, ema=0.995),
)
"""A second descent of the learning rate keeps the corners of small shapes."""
DECODER = Recipe(steps=1500, learning_rate=1.2e-3, warmup=60, ema=0.995, weight_decay=0.0)
WHITENING_FLOOR = 0.04
"""About the variance of the posterior's noise: directions below it carry little, and stay small."""
DECODER_NOISE = 0.3
"""Share of the posterior's spread that the decoder sees while it is trained alone."""


def new_vae() -> AutoencoderKL:
    """The untrained autoencoder: 0.8 M parameters."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 16, 48, 64),
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
    )


def train(worker: Worker, out: Path) -> None:
    """Run all phases and write the folder `out`."""
    torch.manual_seed(SEED)
    vae = new_vae()
    for phase in range(len(PHASES)):
        fit_phase(vae, phase, worker, out)


def fit_phase(vae: AutoencoderKL, phase: int, worker: Worker, out: Path) -> None:
    """Minimise ink-weighted squared and absolute error and a small KL; each phase has random numbers of its own."""
    seed = worker.seed(SEED + 100 * phase)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    vae.train()

    def loss_of(step: int) -> torch.Tensor:
        _, images = pictures(worker.share(BATCH), rng)
        target = to_signed(images)
        posterior = vae.encode(target).latent_dist
        error = vae.decode(posterior.sample()).sample - target
        weight = 1.0 + INK_WEIGHT / 2.0 * (target.amax(dim=1, keepdim=True) - target.amin(dim=1, keepdim=True))
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = (weight * error.square()).mean() + 0.1 * (weight * error.abs()).mean() + KL_WEIGHT * kl
        return torch.as_tensor(loss)

    for step in fit(vae, loss_of, PHASES[phase], worker, f"vae phase {phase}"):
        if worker.leads and ((step + 1) % 400 == 0 or step + 1 == PHASES[phase].steps):
            save(vae, out)
            vae.train()


def refine_decoder(worker: Worker, out: Path) -> None:
    """Train the decoder alone, on less noisy latents, with the encoder and so the generator's latents unchanged."""
    vae = AutoencoderKL.from_pretrained(out)
    for part in (vae.encoder, vae.quant_conv):
        part.requires_grad_(False)
    seed = worker.seed(SEED + 300)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)

    def loss_of(step: int) -> torch.Tensor:
        _, images = pictures(worker.share(BATCH), rng)
        target = to_signed(images)
        with torch.no_grad():
            posterior = vae.encode(target).latent_dist
            latents = posterior.mean + DECODER_NOISE * posterior.std * torch.randn_like(posterior.mean)
        error = vae.decode(latents).sample - target
        return torch.as_tensor(4.0 * error.square().mean() + 0.1 * error.abs().mean())

    for _ in fit(vae, loss_of, DECODER, worker, "decoder"):
        pass
    if worker.leads:
        whiten(vae)
        save(vae, out)


@torch.no_grad()
def whiten(vae: AutoencoderKL) -> None:
    """Change the latents' basis so that outlines weigh as much as the background, in the two 1 x 1 convolutions.

    Trained latents put nearly all variance on the paper's brightness; outlines would drown in the first noise and be
    learnt last. Principal directions are scaled by 1 / sqrt(variance + FLOOR); decoding undoes it exactly.
    """
    _, images = pictures(2048, np.random.default_rng(SEED + 2))
    latents = torch.cat([vae.encode(to_signed(b)).latent_dist.mean for b in images.split(64)])
    cells = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1]).double()
    centre = cells.mean(dim=0)
    variances, directions = torch.linalg.eigh(torch.cov(cells.T))
    scale = (variances + WHITENING_FLOOR).rsqrt()
    into, back = (scale[:, None] * directions.T).float(), (directions / scale).float()
    count, middle = len(centre), centre.float()
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:count] = torch.einsum("ij,jkhw->ikhw", into, before.weight[:count])
    before.bias[:count] = into @ (before.bias[:count] - middle)
    before.weight[count:] = 0.0  # the posterior's spread in the new basis: next to none
    before.bias[count:] = -12.0
    after.bias += after.weight[:, :, 0, 0] @ middle
    after.weight[:] = torch.einsum("ijhw,jk->ikhw", after.weight, back)


@torch.no_grad()
def save(vae: AutoencoderKL, out: Path) -> None:
    """Measure the latents' spread and the reconstruction on 512 new pictures, and write the folder."""
    vae.eval()
    _, images = pictures(512, np.random.default_rng(SEED + 1))
    latents = torch.cat([vae.encode(to_signed(b)).latent_dist.mean for b in images.split(64)])
    decoded = torch.cat([vae.decode(z).sample for z in latents.split(64)])
    vae.register_to_config(scaling_factor=round(1.0 / float(latents.std()), 5))
    error = (decoded.clamp(-1, 1) - to_signed(images)).square().mean(dim=(1, 2, 3)) / 4.0
    print(f"vae PSNR {float((-10.0 * error.log10()).mean()):.2f} dB, latent std {float(latents.std()):.3f}", flush=True)
    vae.save_pretrained(out)
