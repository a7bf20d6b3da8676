"""Metrics of kind set: one value for all images against a reference set."""

from __future__ import annotations

from metrics.builtin.row import FOLDER, Row, row
from metrics.types import Direction, Kind

_INCEPTION = {
    "weights": "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
    "sha256": ("6726825d",),
    "packages": ("torch_fidelity",),
    "licence": "Apache-2.0",
    "kind": Kind.SET,
    "direction": Direction.LOWER,
    "beside": FOLDER,
}
_FID = {"unit": "Frechet distance", "low": 0.0, **_INCEPTION}
_HEUSEL = "Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule, arXiv 1706.08500"

_KYNKAANNIEMI = "Kynkaanniemi et al. 2019, Improved Precision and Recall Metric, arXiv 1904.06991"
_NAEEM = "Naeem et al. 2020, Reliable Fidelity and Diversity Metrics, arXiv 2002.09797"

ROWS: tuple[Row, ...] = (
    row(
        "metrics.set.fid:FID",
        name="fid",
        title="FID",
        order=10,
        citation=f"{_HEUSEL} (torch-fidelity's resize)",
        **_FID,
    ),
    row(
        "metrics.set.fid:CleanFID",
        name="fid_clean",
        title="FID (clean-fid's resize)",
        order=50,
        citation=f"{_HEUSEL}; resize: Parmar et al. 2022, arXiv 2104.11222",
        **_FID,
    ),
    row(
        "metrics.set.fid:TorchmetricsFID",
        name="fid_torchmetrics",
        title="FID (torchmetrics' resize)",
        order=60,
        citation=f"{_HEUSEL} (torchmetrics 1.9's default resize)",
        **_FID,
    ),
    row(
        "metrics.set.kid:KID",
        name="kid",
        title="KID",
        order=20,
        unit="squared MMD",
        citation="Binkowski et al. 2018, Demystifying MMD GANs, arXiv 1801.01401 (unbiased, all images at once)",
        **_INCEPTION,
    ),
    row(
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
        beside=FOLDER,
    ),
    row(
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
        beside=FOLDER,
    ),
    *(
        row(
            "metrics.set.prdc:PRDC",
            name=name,
            title=value.capitalize(),
            order=70 + 2 * index,
            kind=Kind.SET,
            direction=Direction.HIGHER,
            unit=unit,
            low=0.0,
            high=None if value == "density" else 1.0,
            weights="facebook/dinov2-large",
            licence="Apache-2.0",
            citation=_NAEEM if value in ("density", "coverage") else _KYNKAANNIEMI,
            options={"value": value, "k": 5, "encoder": "dinov2"},
            beside=FOLDER,
        )
        for index, (name, value, unit) in enumerate(
            (
                ("prdc", "coverage", "share of reference images"),
                ("prdc_recall", "recall", "share of reference images"),
                ("prdc_precision", "precision", "share of generated images"),
                ("prdc_density", "density", "neighbourhoods per generated image"),
            )
        )
    ),
    row(
        "metrics.set.irs:IRS",
        name="irs",
        title="IRS",
        order=80,
        kind=Kind.SET,
        direction=Direction.HIGHER,
        unit="share of reference images within reach",
        low=0.0,
        high=1.0,
        weights="facebook/dinov2-large",
        licence="Apache-2.0",
        citation="Dombrowski et al. 2025, Image Generation Diversity Issues and How to Tame Them, arXiv 2411.16171 "
        "(checked against our reading)",
        options={"encoder": "dinov2"},
        beside=FOLDER,
    ),
    row(
        "metrics.set.fd:FD",
        name="fd",
        title="FD",
        order=45,
        kind=Kind.SET,
        direction=Direction.LOWER,
        unit="Frechet distance",
        low=0.0,
        weights="facebook/dinov3-vitl16-pretrain-lvd1689m",
        licence="DINOv3 licence (gated)",
        citation="Stein et al. 2023, Exposing flaws of generative model evaluation metrics, arXiv 2306.04675; "
        "features: Simeoni et al. 2025, DINOv3, arXiv 2508.10104",
        options={"encoder": "dinov3"},
        beside=FOLDER,
    ),
    row(
        "metrics.set.conditional_vendi:ConditionalVendi",
        name="conditional_vendi",
        title="Conditional Vendi",
        order=90,
        kind=Kind.SET,
        direction=Direction.HIGHER,
        unit="effective number of images given the prompt",
        weights="facebook/dinov2-large",
        licence="Apache-2.0",
        citation="Jalali et al. 2024, Conditional Vendi Score, arXiv 2411.02817 (checked against our reading)",
        options={"encoder": "dinov2", "text": "clip", "text_weights": None},
        weight_options=("text_weights",),
        beside=FOLDER,
        reference=False,
    ),
    row(
        "metrics.set.near_duplicates:NearDuplicates",
        name="near_duplicates",
        title="Near-duplicates of training images",
        order=100,
        kind=Kind.SET,
        direction=Direction.LOWER,
        unit="share of generated images",
        low=0.0,
        high=1.0,
        weights="facebook/dinov2-large",
        licence="Apache-2.0",
        citation="Somepalli et al. 2022, Diffusion Art or Digital Forgery?, arXiv 2212.03860 (the question "
        "alone: encoder and threshold are options)",
        options={"encoder": "dinov2", "threshold": 0.9},
        beside=FOLDER,
    ),
)
