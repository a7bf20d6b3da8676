"""The metrics of this package: the facts of each, and where its code is. Light, as the catalogue that reads it."""

from __future__ import annotations

from typing import Any

from metrics.types import Direction, Facts, Kind

BUILTIN: list[tuple[str, Facts]] = []


def _add(target: str, **facts: Any) -> None:
    BUILTIN.append((target, Facts(**facts)))


_HPS = {
    "kind": Kind.IMAGE,
    "direction": Direction.HIGHER,
    "unit": "cosine",
    "low": -1.0,
    "high": 1.0,
    "packages": ("open_clip_torch",),
    "licence": "Apache-2.0",
    "citation": "Wu et al. 2023, Human Preference Score v2, arXiv 2306.09341",
    "options": {"antialias": False, "autocast": False},
    "beside": ("open_clip_config.json", "bpe_simple_vocab.txt.gz"),
}
# What is read beside one file that is named of a folder of transformers.
_FOLDER = ("*.json", "merges.txt", "model*.safetensors", "pytorch_model.bin")
_UNSUPPORTED = "metrics.unsupported:Unsupported"
_CLIP = "openai/clip-vit-large-patch14"
_INCEPTION = {
    "weights": "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
    "sha256": ("6726825d",),
    "packages": ("torch_fidelity",),
    "licence": "Apache-2.0",
    "kind": Kind.SET,
    "direction": Direction.LOWER,
    "beside": _FOLDER,
}
_FID = {"unit": "Frechet distance", "low": 0.0, **_INCEPTION}
_HEUSEL = "Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule, arXiv 1706.08500"

_add(
    "metrics.image.image_reward:ImageReward",
    name="image_reward",
    title="ImageReward",
    order=10,
    kind=Kind.IMAGE,
    direction=Direction.HIGHER,
    unit="normalised reward",
    weights="THUDM/ImageReward:ImageReward.pt",
    sha256=("d71dc8d4912bc633c06ab8ef1ef6a81e8199d4369f14b47b29baf1d19de561f6",),
    licence="Apache-2.0",
    citation="Xu et al. 2023, ImageReward, arXiv 2304.05977",
    beside=("med_config.json", "vocab.txt"),
)
_add(
    "metrics.image.hpsv2:HPSv2",
    name="hpsv2",
    title="HPSv2",
    order=30,
    version="2.0",
    weights="xswu/HPSv2:HPS_v2_compressed.pt",
    sha256=("07cb0d20626232204ca3a6ec53ff5984e7e53212a8a7b0e0ec2bac1bdaf125a1",),
    **_HPS,
)
_add(
    "metrics.image.hpsv2:HPSv2",
    name="hpsv2.1",
    title="HPSv2.1",
    order=20,
    version="2.1",
    weights="xswu/HPSv2:HPS_v2.1_compressed.pt",
    sha256=("c57a38fb4a2f7e7c15bf00da2ea377cdf165448b4dd1052a484c215a998c9837",),
    **_HPS,
)
_add(
    "metrics.image.clip_score:PickScore",
    name="pickscore",
    title="PickScore",
    order=40,
    kind=Kind.IMAGE,
    direction=Direction.HIGHER,
    unit="logit-scaled cosine",
    weights="yuvalkirstain/PickScore_v1",
    sha256=("ef31ef6fc5ff4d9bb90dd232df4e145887ba62c5a03aa2841415f8c25f18d52e",),
    licence="MIT",
    citation="Kirstain et al. 2023, Pick-a-Pic, arXiv 2305.01569",
    beside=_FOLDER,
)
_add(
    "metrics.image.clip_score:CLIPScore",
    name="clip_score",
    title="CLIPScore",
    order=50,
    kind=Kind.IMAGE,
    direction=Direction.HIGHER,
    unit="100 x cosine",
    low=-100.0,
    high=100.0,
    weights=_CLIP,
    licence="MIT",
    citation="Hessel et al. 2021, CLIPScore, arXiv 2104.08718 (here 100 cos, neither prefix nor clamp)",
    options={"backbone": "vit-l-14", "variant": "cosine"},
    beside=_FOLDER,
)
_add(
    "metrics.image.aesthetic:Aesthetic",
    name="aesthetic",
    title="LAION aesthetic",
    order=70,
    kind=Kind.IMAGE,
    direction=Direction.HIGHER,
    unit="predicted rating, about 1 to 10",
    weights="https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/"
    "6934dd81792f086e613a121dbce43082cb8be85e/sac%2Blogos%2Bava1-l14-linearMSE.pth",
    sha256=("21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",),
    licence="Apache-2.0",
    citation="Schuhmann 2022, improved aesthetic predictor, github.com/christophschuhmann/improved-aesthetic-predictor",
    options={"clip": None},
    weight_options=("clip",),
    beside=(*_FOLDER, *(f"clip/{name}" for name in _FOLDER)),
)
_add(
    _UNSUPPORTED,
    name="hpsv3",
    title="HPSv3",
    order=80,
    kind=Kind.IMAGE,
    direction=Direction.HIGHER,
    unit="reward (mean of its Gaussian)",
    weights="MizzenAI/HPSv3:HPSv3.safetensors",
    licence="MIT",
    citation="Ma et al. 2025, HPSv3, arXiv 2508.03789",
    unsupported="it is a reward head on Qwen2-VL-7B, made for transformers 4.45 (4.52 renamed its layers), which needs "
    "about 17 GB of GPU memory, and no port of it was proven equal to the original",
)
_add(
    _UNSUPPORTED,
    name="mps",
    title="MPS",
    order=90,
    kind=Kind.IMAGE,
    direction=Direction.HIGHER,
    unit="logit-scaled cosine",
    weights="MPS_overall_checkpoint.pth of github.com/Kwai-Kolors/MPS",
    licence="not stated",
    citation="Zhang et al. 2024, Learning Multi-dimensional Human Preference for Text-to-Image Generation, CVPR",
    unsupported="its checkpoint is a pickled module that runs code when it is loaded, and its scores depend on the "
    "other images of the batch",
)
_add(
    "metrics.group.lpips:LPIPS",
    name="lpips",
    title="LPIPS diversity",
    order=10,
    kind=Kind.GROUP,
    direction=Direction.HIGHER,
    unit="mean pairwise LPIPS",
    low=0.0,
    weights="the lpips package (v0.1) on torchvision's ImageNet trunks",
    sha256=("7be5be79", "397923af", "b8a52dc0"),
    packages=("lpips",),
    licence="BSD-2-Clause",
    citation="Zhang et al. 2018, The Unreasonable Effectiveness of Deep Features, arXiv 1801.03924",
    options={"net": None},
    megabytes=57,  # VGG16's layers, the largest trunk
    beside=(),
)
_add(
    "metrics.group.dreamsim:DreamSim",
    name="dreamsim",
    title="DreamSim diversity",
    order=20,
    kind=Kind.GROUP,
    direction=Direction.HIGHER,
    unit="mean pairwise DreamSim",
    low=0.0,
    high=2.0,
    weights="the dreamsim package's release",
    packages=("dreamsim",),
    licence="MIT",
    citation="Fu et al. 2023, DreamSim, arXiv 2306.09344",
    options={"type": "ensemble"},
    megabytes=992,  # the ensemble's three ViT-B/16 and its adapter
    beside=(*_FOLDER, "*.pth", "*.tar", "checkpoints/*", "*_lora/*"),
)
_add(
    "metrics.group.dino:Dino",
    name="dino",
    title="DINO diversity",
    order=40,
    kind=Kind.GROUP,
    direction=Direction.HIGHER,
    unit="mean pairwise 1 - cosine",
    low=0.0,
    high=2.0,
    weights="facebook/dino-vits16",
    licence="Apache-2.0",
    citation="Caron et al. 2021, Emerging Properties in Self-Supervised Vision Transformers, arXiv 2104.14294",
    beside=_FOLDER,
)
_add(
    "metrics.group.vendi:Vendi",
    name="vendi",
    title="Vendi score",
    order=50,
    kind=Kind.GROUP,
    direction=Direction.HIGHER,
    unit="effective number of images",
    low=1.0,
    weights="facebook/dino-vits16",
    licence="Apache-2.0",
    citation="Friedman and Dieng 2023, The Vendi Score, arXiv 2210.02410; order q: Pasarkar, Dieng, arXiv 2310.12952",
    options={"backbone": "dino", "q": 1.0, "kernel": "cosine", "bandwidth": None, "k": None},
    beside=_FOLDER,
)
_add(
    "metrics.group.clip_diversity:ClipDiversity",
    name="clip_diversity",
    title="CLIP diversity",
    order=60,
    kind=Kind.GROUP,
    direction=Direction.HIGHER,
    unit="mean pairwise 1 - cosine",
    low=0.0,
    high=2.0,
    weights=_CLIP,
    licence="MIT",
    citation="Radford et al. 2021, Learning Transferable Visual Models, arXiv 2103.00020",
    options={"backbone": "vit-l-14"},
    beside=_FOLDER,
)
_add(
    "metrics.set.fid:FID",
    name="fid",
    title="FID",
    order=10,
    citation=f"{_HEUSEL} (torch-fidelity's resize)",
    **_FID,
)
_add(
    "metrics.set.fid:CleanFID",
    name="fid_clean",
    title="FID (clean-fid's resize)",
    order=50,
    citation=f"{_HEUSEL}; resize: Parmar et al. 2022, arXiv 2104.11222",
    **_FID,
)
_add(
    "metrics.set.fid:TorchmetricsFID",
    name="fid_torchmetrics",
    title="FID (torchmetrics' resize)",
    order=60,
    citation=f"{_HEUSEL} (torchmetrics 1.9's default resize)",
    **_FID,
)
_add(
    "metrics.set.kid:KID",
    name="kid",
    title="KID",
    order=20,
    unit="squared MMD",
    citation="Binkowski et al. 2018, Demystifying MMD GANs, arXiv 1801.01401 (unbiased, all images at once)",
    **_INCEPTION,
)
_add(
    "metrics.set.cmmd:CMMD",
    name="cmmd",
    title="CMMD",
    order=30,
    kind=Kind.SET,
    direction=Direction.LOWER,
    unit="1000 x squared MMD",
    low=0.0,
    weights="openai/clip-vit-large-patch14-336",
    licence="MIT",
    citation="Jayasumana et al. 2024, Rethinking FID, arXiv 2401.09603",
    beside=_FOLDER,
)
_add(
    "metrics.set.fd_dinov2:FDDinov2",
    name="fd_dinov2",
    title="FD-DINOv2",
    order=40,
    kind=Kind.SET,
    direction=Direction.LOWER,
    unit="Frechet distance",
    low=0.0,
    weights="facebook/dinov2-large",
    licence="Apache-2.0",
    citation="Stein et al. 2023, Exposing flaws of generative model evaluation metrics, arXiv 2306.04675",
    beside=_FOLDER,
)
