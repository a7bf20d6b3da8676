"""A pipeline folder of every family with a few thousand random weights, built from configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from bench.models.loading import quiet
from bench.shapes.build.tokens import MAX_LENGTH, write_clip_tokenizer
from tests.unit.bench.models import families_2026
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_unet

FAMILIES = ("sd", "sdxl", "pixart", "sd3", "flux", "flux2", "z_image", "qwen_image", "sana")
FLOW = "FlowMatchEulerDiscreteScheduler"


def has_turn(number: int, family: str, families: tuple[str, ...] = FAMILIES) -> bool:
    """Whether the form of this number is tried in this family, where each is tried in a third of its families."""
    return (number + families.index(family)) % min(3, len(families)) == 0


def scheduler_of(family: str) -> str:
    """A scheduler that fits what the family's networks predict."""
    return "EulerDiscreteScheduler" if family in ("sd", "sdxl", "pixart") else FLOW


WORDS = ["a", "red", "circle", "star", "large", "square", "on", "the", "left", *"bcdefghijklmnopqrstuvwxyz"]


def t5_tokenizer() -> T5Tokenizer:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -3.0) for word in WORDS] + [(word, -5.0) for word in WORDS]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def t5(width: int) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(t5_tokenizer()), d_model=width, d_kv=4, d_ff=16, num_layers=1, num_heads=2, dropout_rate=0.0
        )
    )


def clip(folder: Path, width: int, projected: bool) -> tuple[Any, Any]:
    tokenizer = write_clip_tokenizer(folder)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=16,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer, (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def vae(channels: int = 4, shift: float | None = None) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        latent_channels=channels,
        norm_num_groups=4,
        scaling_factor=0.9,
        shift_factor=shift,
        use_quant_conv=shift is None,
        use_post_quant_conv=shift is None,
    )


def sdxl_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=8 + 6 * 4,
    )


def pixart_transformer(sample_size: int = 8) -> PixArtTransformer2DModel:
    return PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=6,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=12,
        sample_size=sample_size,
        caption_channels=8,
    )


def sd3_transformer() -> SD3Transformer2DModel:
    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=4,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=8,
        pooled_projection_dim=16,
        out_channels=4,
        pos_embed_max_size=8,
        qk_norm="rms_norm",
    )


def flux_transformer(guidance: bool = True) -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=8,
        pooled_projection_dim=8,
        guidance_embeds=guidance,
        axes_dims_rope=(4, 6, 6),
    )


NETWORKS: dict[str, Callable[[], Any]] = {
    "sd": lambda: tiny_unet(torch.initial_seed()),  # which seeds again
    "sdxl": sdxl_unet,
    "pixart": pixart_transformer,
    "pixart-alpha": lambda: pixart_transformer(128),
    "sd3": sd3_transformer,
    "flux": flux_transformer,
    **families_2026.NETWORKS,
}


def tiny_network(family: str, seed: int = 0) -> Any:
    """A network of the family; biases and gains that configurations start at 0 are drawn too."""
    torch.manual_seed(seed)
    with quiet():
        network = NETWORKS[family]()
    for value in network.parameters():
        if float(value.detach().std()) == 0.0:
            value.data += 0.1 * torch.randn(value.shape)
    return network.eval()


def _sdxl(folder: Path) -> Any:
    tokenizer, text = clip(folder / "tokenizer", 8, projected=False)
    tokenizer_2, text_2 = clip(folder / "tokenizer_2", 8, projected=True)
    return StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=text,
        text_encoder_2=text_2,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=tiny_network("sdxl"),
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        add_watermarker=False,
    )


def _pixart(folder: Path) -> Any:
    parts = {"tokenizer": t5_tokenizer(), "text_encoder": t5(8), "vae": vae()}
    return PixArtSigmaPipeline(**parts, transformer=tiny_network("pixart"), scheduler=EulerDiscreteScheduler())


def _pixart_alpha(folder: Path) -> Any:
    parts = {"tokenizer": t5_tokenizer(), "text_encoder": t5(8), "vae": vae()}
    return PixArtAlphaPipeline(**parts, transformer=tiny_network("pixart-alpha"), scheduler=EulerDiscreteScheduler())


def _sd3(folder: Path) -> Any:
    tokenizer, text = clip(folder / "tokenizer", 8, projected=True)
    tokenizer_2, text_2 = clip(folder / "tokenizer_2", 8, projected=True)
    return StableDiffusion3Pipeline(
        transformer=tiny_network("sd3"),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(4, shift=0.1),
        text_encoder=text,
        tokenizer=tokenizer,
        text_encoder_2=text_2,
        tokenizer_2=tokenizer_2,
        text_encoder_3=t5(16),
        tokenizer_3=t5_tokenizer(),
    )


def _flux(folder: Path) -> Any:
    tokenizer, text = clip(folder / "tokenizer", 8, projected=False)
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15),
        vae=vae(4, shift=0.1),
        text_encoder=text,
        tokenizer=tokenizer,
        text_encoder_2=t5(8),
        tokenizer_2=t5_tokenizer(),
        transformer=tiny_network("flux"),
    )


BUILDERS: dict[str, Callable[[Path], Any]] = {
    "sdxl": _sdxl,
    "pixart": _pixart,
    "pixart-alpha": _pixart_alpha,
    "sd3": _sd3,
    "flux": _flux,
}


def family_pipeline(family: str, folder: Path) -> Path:
    """Write the pipeline folder of a family; returns it."""
    if family == "sd":
        return tiny_pipeline(folder)
    if family in families_2026.BUILDERS:
        with quiet():
            families_2026.tiny_pipeline_of(family, tiny_network(family), folder)
        return folder
    torch.manual_seed(1)
    with quiet():
        BUILDERS[family](folder).save_pretrained(folder)
    return folder
