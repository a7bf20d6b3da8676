"""The checkpoints that alignment papers publish: what each is, what it was trained on, and how it is sampled.

Facts only, each read in the place that `source` names. What nobody could read is "unknown", never guessed. Values of
`trained_on` are names of metrics where there is one of that name, so that reports mark them as in-reward.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One published checkpoint.

    `weights` is the name to give to `weights = ...` or `--set weights=...`; `base` is the model that it was tuned from.
    `guidance` is that of the tuned side (1: none; of FLUX the one that is an input of the network), `steps` the number
    of denoising steps, `switch_step` the first tuned step where the authors sample two networks; None: not stated.
    `trained_on` are rewards; models that were fitted to human choices instead have none, and `note` says so. `revision`
    is the commit that a public source shows; None: none was seen, so the repository's newest is taken ("not pinned").
    """

    weights: str
    method: str
    family: str
    base: str
    form: str
    trained_on: tuple[str, ...] = ()
    guidance: float | None = None
    steps: int | None = None
    switch_step: int | None = None
    resolution: int | None = None
    licence: str = UNKNOWN
    source: str = ""
    note: str = ""
    revision: str | None = None

    @property
    def pinned(self) -> str:
        """The weights name at the known revision; as it is where none is known."""
        if self.revision is None:
            return self.weights
        return self.weights.replace(self.repository, f"{self.repository}@{self.revision}", 1)

    @property
    def repository(self) -> str:
        """The hub's "owner/name" of it."""
        return repository(self.weights)


SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
SD35M = "stabilityai/stable-diffusion-3.5-medium"
FLUX = "black-forest-labs/FLUX.1-dev"
KLEIN = "black-forest-labs/FLUX.2-klein-base-9B"

_IMAGEREFL = "model cards, configs/combined_inference.yaml and model classes of ControlGenAI/ImageReFL"
_SPO_NOTE = "tuned by a step-aware preference model fitted to Pick-a-Pic choices, which PickScore was fitted to as well"
_DPO_NOTE = "tuned on the human choices of Pick-a-Pic v2, which PickScore was fitted to as well"
_CODE_ONLY = "unknown (the code: {})"


def _imagerefl(reward: str, metric: str, model: str, base: str, switch_step: int) -> Checkpoint:
    return Checkpoint(
        weights=f"ControlGenAI/ImageReFL_{reward}_{model}:fine_tuned_unet",
        method="imagerefl",
        family="sd" if model == "SD" else "sdxl",
        base=base,
        form="UNet folder beside `original_unet`; the repository's own pipeline code is never run",
        trained_on=(metric,),
        guidance=1.0,
        steps=40,
        switch_step=switch_step,
        resolution=512,
        licence=_CODE_ONLY.format("MIT"),
        source=_IMAGEREFL,
    )


def _spo(name: str, family: str, base: str, guidance: float, resolution: int) -> tuple[Checkpoint, Checkpoint]:
    def one(weights: str, form: str) -> Checkpoint:
        return Checkpoint(
            weights=f"SPO-Diffusion-Models/SPO-{name}_4k-p_10ep{weights}",
            method="spo",
            family=family,
            base=base,
            form=form,
            guidance=guidance,
            resolution=resolution,
            licence=_CODE_ONLY.format("MIT"),
            source="spo_training_and_inference/inference_scripts of RockeyCoss/SPO",
            note=_SPO_NOTE,
        )

    return one(":unet", "full pipeline, of which the UNet is taken"), one("_LoRA", "LoRA")


def _flowgrpo(task: str, rewards: tuple[str, ...], note: str = "", revision: str | None = None) -> Checkpoint:
    return Checkpoint(
        weights=f"jieliu/SD3.5M-FlowGRPO-{task}",
        method="flowgrpo",
        family="sd3",
        base=SD35M,
        form="LoRA of the transformer, in PEFT's layout",
        trained_on=rewards,
        guidance=4.5,
        steps=40,
        resolution=512,
        licence=_CODE_ONLY.format("MIT"),
        source="config/grpo.py of yifan123/flow_grpo",
        note=note,
        revision=revision,
    )


def _flowdppo(model: str, family: str, base: str, kind: str) -> Checkpoint:
    several = "several rewards, of which the others were not stated in what was read"
    return Checkpoint(
        weights=f"Tencent-Hunyuan-Multimodal-RL/{model}-GenEval2-{kind}-Reward",
        method="flowdppo",
        family=family,
        base=base,
        form="LoRA of the transformer, in PEFT's layout",
        trained_on=("geneval2",),
        source="arXiv 2606.11025",
        note="Soft-TIFA of GenEval 2 as reward" if kind == "Single" else several,
    )


CHECKPOINTS: tuple[Checkpoint, ...] = (
    _imagerefl("HPS", "hpsv2.1", "SD", SD15, 30),
    _imagerefl("PickScore", "pickscore", "SD", SD15, 30),
    _imagerefl("HPS", "hpsv2.1", "SDXL", SDXL, 35),
    _imagerefl("PickScore", "pickscore", "SDXL", SDXL, 35),
    Checkpoint(
        weights="mhdang/dpo-sd1.5-text2image-v1:unet",
        method="dpo",
        family="sd",
        base=SD15,
        form="UNet folder",
        guidance=7.5,
        steps=50,
        resolution=512,
        licence=_CODE_ONLY.format("Apache-2.0"),
        source="quick_samples.ipynb of SalesforceAIResearch/DiffusionDPO (steps: the pipeline's default)",
        note=_DPO_NOTE,
    ),
    Checkpoint(
        weights="mhdang/dpo-sdxl-text2image-v1:unet",
        method="dpo",
        family="sdxl",
        base=SDXL,
        form="UNet folder",
        guidance=5.0,
        steps=50,
        resolution=1024,
        licence=_CODE_ONLY.format("Apache-2.0"),
        source="quick_samples.ipynb of SalesforceAIResearch/DiffusionDPO (steps: the pipeline's default)",
        note=_DPO_NOTE,
    ),
    *_spo("SD-v1-5", "sd", SD15, 7.5, 512),
    *_spo("SDXL", "sdxl", SDXL, 5.0, 1024),
    _flowgrpo(
        "GenEval",
        ("geneval",),
        "the GenEval detector's verdict as reward; its authors replaced the file once: runs of other dates may differ",
    ),
    _flowgrpo("Text", ("ocr",), "legibility of rendered text as reward"),
    _flowgrpo(
        "PickScore",
        ("pickscore",),
        "the revision is the one in published commands of others (a path of their cache)",
        revision="10c56697459bbdbe54d5e375912f49a0bcfae773",
    ),
    Checkpoint(
        weights="worstcoder/SD3.5M-DiffusionNFT-MultiReward",
        method="diffusionnft",
        family="sd3",
        base=SD35M,
        form="LoRA of the transformer",
        trained_on=("pickscore", "hpsv2.1", "clip_score"),
        guidance=1.0,
        steps=40,
        resolution=512,
        licence=_CODE_ONLY.format("Apache-2.0"),
        source="README, config/nft.py (sd3_multi_reward) and scripts/evaluation.py of NVlabs/DiffusionNFT",
        note="sampled without guidance",
    ),
    *(_flowdppo("SD3.5", "sd3", SD35M, kind) for kind in ("Single", "Multi")),
    *(_flowdppo("FLUX2-klein-base-9b", "flux2", KLEIN, kind) for kind in ("Single", "Multi")),
    Checkpoint(
        weights="roundman/DiffusionRVGE-SD3.5M-MultiReward",
        method="diffusionrvge",
        family="sd3",
        base=SD35M,
        form="LoRA of rank 32",
        guidance=1.0,
        steps=40,
        source="the model card",
        note="several rewards, not stated in what was read",
    ),
    Checkpoint(
        weights="tannayak/sd1.5_imagereward_dpo",
        method="dpo",
        family="sd",
        base=SD15,
        form="LoRA",
        trained_on=("image_reward",),
        source="the model card",
        note="preferences by ImageReward; there is a second version (v2)",
    ),
    Checkpoint(
        weights="CodeGoat24/FLUX.1-dev-PrefGRPO",
        method="prefgrpo",
        family="flux",
        base=FLUX,
        form="unknown: the repository's layout was not seen",
        trained_on=("unified_reward",),
        licence="MIT",
        source="arXiv 2508.20751",
        note="pairwise preferences by UnifiedReward as reward",
    ),
    Checkpoint(
        weights="P1n3/boxflow-grpo-flux-lora",
        method="boxflow",
        family="flux",
        base=FLUX,
        form="LoRA of rank 64",
        steps=10,
        resolution=512,
        source="the model card",
        note="the reward was not stated in what was read",
    ),
    Checkpoint(
        weights="xzyhku/flux_hpsv2.1_dancegrpo:checkpoint-300-0",
        method="dancegrpo",
        family="flux",
        base=FLUX,
        form="transformer folder",
        trained_on=("hpsv2.1",),
        guidance=3.5,
        steps=50,
        resolution=1024,
        licence=_CODE_ONLY.format("Apache-2.0"),
        source="README and scripts/visualization/vis_flux.py of XueZeyue/DanceGRPO",
        note="the repository keeps its weights in subfolders named by training step; an averaged copy may lie beside",
    ),
    Checkpoint(
        weights="tulvgengenr/MixGRPO:diffusion_pytorch_model.safetensors",
        method="mixgrpo",
        family="flux",
        base=FLUX,
        form="whole transformer in one safetensors file",
        trained_on=("hpsv2.1", "image_reward", "pickscore"),
        guidance=3.5,
        steps=50,
        switch_step=30,
        licence="unknown (the code: its authors' own terms)",
        source="README and fastvideo/sample/sample_flux.py of Tencent-Hunyuan/MixGRPO",
        note="tuned in the first 30 steps, base in the last 20",
    ),
    Checkpoint(
        weights="tencent/SRPO:diffusion_pytorch_model.safetensors",
        method="srpo",
        family="flux",
        base=FLUX,
        form="whole transformer in one safetensors file",
        trained_on=("hpsv2.1",),
        guidance=3.5,
        steps=50,
        resolution=1024,
        licence="its authors' own terms, academic use only, and FLUX.1 [dev] Non-Commercial",
        source="README and LICENSE.txt of Tencent-Hunyuan/SRPO",
    ),
)


def repository(weights: str) -> str:
    """ "owner/name@revision:folder#sha256=..." -> "owner/name"; a path comes back as it is."""
    return weights.split("#")[0].split("@")[0].split(":")[0]


def find_checkpoint(weights: str) -> Checkpoint | None:
    """The published checkpoint that a weights name means, whatever revision or digest it pins; a local path is none."""
    if Path(weights).expanduser().exists():
        return None
    return next((checkpoint for checkpoint in CHECKPOINTS if checkpoint.repository == repository(weights)), None)


def published(method: str | None = None, family: str | None = None) -> list[Checkpoint]:
    """The published checkpoints of a method, of a model family, or of both."""
    return [
        checkpoint
        for checkpoint in CHECKPOINTS
        if method in (None, checkpoint.method) and family in (None, checkpoint.family)
    ]
