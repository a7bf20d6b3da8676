"""The model families that a suite may name, one row each. Their adapters are in `bench.models`, which loads them."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import UsageError
from bench.registry.registry import Registry

FAMILIES: Registry[str] = Registry("model family", "bench.models")
"""Family name -> "module:Class" with a classmethod `load(folder, suite, device)`; of built-in rows the module is one of
the adapters in `bench.models`, which this floor does not import."""

GUIDANCE_RULES = {"cfg_normalization": 0.0, "cfg_truncation": 1.0}
"""Settings of a suite's model that say how guidance acts, where a pipeline has them -> the value that does nothing."""


@dataclass(frozen=True, slots=True)
class Family:
    """A built-in family: its adapter, and what is known of it without reading a tensor.

    `pipelines` are the classes in model_index.json, `networks` those in a network's config.json (behind "/" its
    addition_embed_type, where that tells families of one class apart). `marks` are parts of tensor names that only this
    family's checkpoints have, in diffusers' and in the original layout. `conditions` are those of
    `bench.methods.conditions` that diffusers' pipeline has. `distilled`: its guidance is an input of the network,
    learned in distillation. `guiders`: its guidance is the plain sum of a prediction with and one without the prompt
    (`predict_pair`), so that the guiders of `bench.methods.guider` fit it. `guidance_rules` are the settings of a
    suite's model that say how guidance acts.
    """

    name: str
    target: str
    title: str
    pipelines: tuple[str, ...]
    networks: tuple[str, ...]
    marks: tuple[str, ...]
    conditions: tuple[str, ...] = ("negative_prompt",)
    distilled: bool = False
    guiders: bool = False
    guidance_rules: tuple[str, ...] = ()


# A checkpoint is of the last row of which it has a mark: those of U-Nets are found in many files.
ROWS = (
    Family(
        "sd",
        "sd:StableDiffusion",
        "Stable Diffusion 1.x/2.x",
        # besides its own, other uses of the same weights
        pipelines=(
            "StableDiffusionPipeline",
            "StableDiffusionImg2ImgPipeline",
            "StableDiffusionPAGPipeline",
            "LatentConsistencyModelPipeline",
        ),
        networks=("UNet2DConditionModel",),
        marks=("down_blocks.0.resnets", "input_blocks.1.0", "mid_block.resnets"),
        conditions=("negative_prompt", "guidance_rescale", "clip_skip", "embeddings"),
        guiders=True,
    ),
    Family(
        "sdxl",
        "sdxl:StableDiffusionXL",
        "Stable Diffusion XL",
        pipelines=("StableDiffusionXLPipeline", "StableDiffusionXLPAGPipeline"),
        networks=("UNet2DConditionModel/text_time",),
        marks=("add_embedding.linear_1", "label_emb.0.0"),
        conditions=("negative_prompt", "guidance_rescale", "clip_skip", "embeddings"),
        guiders=True,
    ),
    Family(
        "pixart",
        "pixart:PixArt",
        "PixArt",
        pipelines=("PixArtAlphaPipeline", "PixArtSigmaPipeline", "PixArtSigmaPAGPipeline"),
        networks=("PixArtTransformer2DModel", "Transformer2DModel"),  # the latter in older repositories
        marks=("adaln_single.", "t_block."),
        guiders=True,
    ),
    Family(
        "sd3",
        "sd3:StableDiffusion3",
        "Stable Diffusion 3",
        pipelines=("StableDiffusion3Pipeline", "StableDiffusion3PAGPipeline"),
        networks=("SD3Transformer2DModel",),
        marks=("joint_blocks.", "attn.add_q_proj", "context_embedder."),
        conditions=("negative_prompt", "clip_skip"),
        guiders=True,
    ),
    Family(
        "flux",
        "flux:Flux",
        "FLUX",
        pipelines=("FluxPipeline",),
        networks=("FluxTransformer2DModel",),
        marks=("single_transformer_blocks.", "double_blocks.", "single_blocks."),
        distilled=True,
        guiders=True,
    ),
    Family(
        "flux2",
        "flux2:Flux2",
        "FLUX.2 [klein]",
        pipelines=("Flux2KleinPipeline",),
        networks=("Flux2Transformer2DModel",),
        marks=("double_stream_modulation_img.",),
        conditions=(),
        guiders=True,
    ),
    Family(
        "z_image",
        "z_image:ZImage",
        "Z-Image",
        pipelines=("ZImagePipeline",),
        networks=("ZImageTransformer2DModel",),
        marks=("x_pad_token", "cap_pad_token"),
        guidance_rules=("cfg_normalization", "cfg_truncation"),
    ),
    Family(
        "qwen_image",
        "qwen_image:QwenImage",
        "Qwen-Image",
        pipelines=("QwenImagePipeline",),
        networks=("QwenImageTransformer2DModel",),
        marks=("txt_norm.", ".img_mod.1."),
    ),
    Family(
        "sana",
        "sana:Sana",
        "Sana",
        pipelines=("SanaPipeline",),
        networks=("SanaTransformer2DModel",),
        marks=(".ff.conv_inverted.", ".mlp.inverted_conv."),
        guiders=True,
    ),
)
for _row in ROWS:
    FAMILIES.add(_row.name, _row.target, builtin=True)


def family_row(name: str) -> Family | None:
    """The row of a built-in family; None for one of a plug-in, of which no more is known than its adapter."""
    return next((row for row in ROWS if row.name == name), None)


def register_model(family: str, target: str) -> None:
    """Add a model family for suites: `target` is "module:Class" with the classmethod `load(folder, suite, device)`.

    Raises UsageError when the name is taken, or the target is not written so.
    """
    module, colon, attribute = target.partition(":")
    if not (module and colon and attribute):
        raise UsageError(f"model family '{family}': target '{target}' must be written as 'module:Class'")
    FAMILIES.add(family, target)


def model_families() -> dict[str, str]:
    """The families that plug-ins brought, with their targets."""
    return {name: str(FAMILIES.target(name)) for name in FAMILIES.names() if not FAMILIES.is_builtin(name)}
