"""Baselines without training of their own: rows of the catalogue. Their settings: `bench.methods.guider`.

A claim that training keeps diversity has to beat these: they buy quality or diversity from the base model at sampling
time. Defaults are starting points within the ranges of the papers, not tuned to any model: sweep them with --set.
"""

from __future__ import annotations

from bench.methods.coupling import coupling
from bench.methods.guider import Guider
from bench.methods.method import Method
from bench.methods.schedule import Schedule
from bench.methods.search import Search

_BASE = Schedule("constant", value=0.0)

ACCELERATED = (
    Method(
        "fewer_steps",
        "Fewer steps",
        _BASE,
        steps=10,
        citation="the base model with fewer denoising steps",
        colour="#566573",
        marker="<",
    ),
    Method(
        "int8",
        "Weights of 8 bits",
        _BASE,
        precision="int8",
        citation="absmax rounding of weights alone, one scale an output channel",
        colour="#117864",
        marker="<",
    ),
    Method(
        "deepcache",
        "DeepCache",
        _BASE,
        cache_interval=3,
        citation="Ma et al. 2024, DeepCache, arXiv 2312.00858",
        colour="#ca6f1e",
        marker="<",
    ),
    Method(
        "first_block_cache",
        "FirstBlockCache",
        _BASE,
        threshold=0.05,
        citation="ParaAttention's first block cache, as diffusers has it, decided for each image by itself",
        colour="#7d6608",
        marker="<",
    ),
    Method(
        "taylorseer",
        "TaylorSeer",
        _BASE,
        taylor_interval=5,
        taylor_order=1,
        taylor_warmup=3,
        citation="Liu et al. 2025, TaylorSeer, arXiv 2503.06923",
        colour="#a04000",
        marker="<",
    ),
)
SEARCHED = (
    Method(
        "best_of_n",
        "Best of N",
        _BASE,
        search=Search("best_of_n", n=4),
        citation="best of N by a reward: the plainest use of a reward at sampling time",
        colour="#d98880",
        marker="d",
    ),
    Method(
        "zero_order_search",
        "Zero-order noise search",
        _BASE,
        search=Search("zero_order", n=4, rounds=1, radius=0.5),
        citation="Ma et al. 2025, Inference-time scaling beyond denoising steps, arXiv 2501.09732",
        colour="#7fb3d5",
        marker="d",
    ),
)
COUPLED = (
    Method(
        "particle_guidance",
        "Particle guidance",
        _BASE,
        coupling=coupling("particle_guidance"),
        citation="Corso et al. 2023, Particle guidance, arXiv 2310.13102; in the latents, with a fixed potential",
        colour="#6c3483",
        marker="X",
    ),
    Method(
        "spell",
        "SPELL",
        _BASE,
        coupling=coupling("spell"),
        citation="Kirchhof et al. 2024, Shielded diffusion (SPELL), arXiv 2410.06025; within a prompt's images",
        colour="#17202a",
        marker="X",
    ),
)
AVERAGED = (
    Method(
        "interpolated",
        "Interpolated weights",
        Schedule("constant", value=1.0),
        ratio=0.5,
        citation="Wortsman et al. 2022, WiSE-FT, arXiv 2109.01903: weights between the base and the tuned network",
        train="refl",
        colour="#4b6584",
        marker="P",
    ),
    Method(
        "soup",
        "Soup of checkpoints",
        Schedule("constant", value=1.0),
        ratio=1.0,
        citation="Rame et al. 2023, Rewarded soups, arXiv 2306.04488; Wortsman et al. 2022, arXiv 2203.05482",
        colour="#c44569",
        marker="P",
    ),
)
GUIDED = (
    Method(
        "guidance_interval",
        "Guidance in an interval",
        _BASE,
        citation="Kynkaanniemi et al. 2024, Applying guidance in a limited interval, arXiv 2404.07724",
        guider=Guider("interval", start=0.2, stop=0.8),
        colour="#1b6ca8",
        marker="H",
    ),
    Method(
        "apg",
        "Adaptive projected guidance",
        _BASE,
        citation="Sadat et al. 2024, Eliminating oversaturation (APG), arXiv 2410.02416",
        guider=Guider("apg", eta=0.0, momentum=-0.5, norm_threshold=15.0, start=0.0, stop=1.0),
        colour="#b8860b",
        marker="H",
    ),
    Method(
        "autoguidance",
        "Autoguidance",
        _BASE,
        citation="Karras et al. 2024, Guiding a diffusion model with a bad version of itself, arXiv 2406.02507",
        guider=Guider("autoguidance", start=0.0, stop=1.0),
        colour="#2e8b57",
        marker="H",
    ),
    Method(
        "cfg_zero_star",
        "CFG-Zero*",
        _BASE,
        citation="Fan et al. 2025, CFG-Zero*, arXiv 2503.18886",
        guider=Guider("cfg_zero_star", start=0.0, stop=1.0),
        colour="#a0522d",
        marker="H",
    ),
    Method(
        "cads",
        "CADS",
        _BASE,
        citation="Sadat et al. 2024, Condition-annealed sampling (CADS), arXiv 2310.17347",
        guider=Guider("cads", tau1=0.6, tau2=0.9, noise_scale=0.25, psi=1.0),
        colour="#9932cc",
        marker="H",
    ),
)
