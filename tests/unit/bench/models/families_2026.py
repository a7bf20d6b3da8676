"""Pipeline folders of FLUX.2 [klein], Z-Image, Qwen-Image and Sana with a few thousand random weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import (
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
)

# As Qwen3's own: one turn, the assistant's beginning, and an empty thought where thinking is off.
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
_INSTRUCTION = (
    "Describe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the "
    "objects and background:"
)
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", _INSTRUCTION[:-17])


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Bytes are the tokens, and the special ones of Qwen's chats.

    What Qwen-Image says before a prompt is as long as with the published tokenizer, 34 tokens, which its pipeline
    drops: all but the end of its instruction is one token.
    """
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    vocabulary = {character: index for index, character in enumerate(bytes_to_unicode().values())}
    vocabulary |= {token: len(vocabulary) + index for index, token in enumerate(_SPECIAL)}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": [*_SPECIAL[1:3], _SPECIAL[5]]})
    tokenizer.chat_template = _CHAT
    return tokenizer


def gemma_tokenizer() -> GemmaTokenizer:
    """Bytes are the tokens; all but the end of the instruction before a prompt is one, which saves the tests time."""
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{number:02X}>" for number in range(256)), "▁"]
    vocabulary = {name: index for index, name in enumerate(names)}
    tokenizer = GemmaTokenizer(vocab=vocabulary, merges=[], add_bos_token=True)
    instruction = inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default
    tokenizer.add_special_tokens({"additional_special_tokens": ["\n".join(instruction)[:-40]]})
    return tokenizer


def qwen3_config(layers: int, width: int) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=len(qwen_tokenizer()),
        hidden_size=width,
        intermediate_size=8,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        max_position_embeddings=2048,
    )


def qwen25_vl(width: int) -> Qwen2_5_VLForConditionalGeneration:
    text = {
        "vocab_size": len(qwen_tokenizer()),
        "hidden_size": width,
        "intermediate_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 0], "rope_theta": 10000.0},
    }
    vision = {
        "depth": 1,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_heads": 2,
        "out_hidden_size": width,
        "fullatt_block_indexes": [0],
    }
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))


def gemma2(width: int) -> Gemma2Model:
    return Gemma2Model(
        Gemma2Config(
            vocab_size=len(gemma_tokenizer()),
            hidden_size=width,
            intermediate_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=4,
            max_position_embeddings=4096,
        )
    )


def flux2_transformer() -> Flux2Transformer2DModel:
    return Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )


def z_image_transformer() -> ZImageTransformer2DModel:
    return ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=8,
        axes_dims=[4, 6, 6],
        axes_lens=[1024, 64, 64],
    )


def qwen_image_transformer() -> QwenImageTransformer2DModel:
    return QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=8,
        axes_dims_rope=(4, 6, 6),
    )


def sana_transformer() -> SanaTransformer2DModel:
    return SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=8,
        sample_size=8,
    )


NETWORKS: dict[str, Callable[[], Any]] = {
    "flux2": flux2_transformer,
    "z_image": z_image_transformer,
    "qwen_image": qwen_image_transformer,
    "sana": sana_transformer,
}


def _kl(kind: Any, **more: Any) -> Any:
    return kind(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
        **more,
    )


def _flux2(network: Any) -> Any:
    vae = _kl(AutoencoderKLFlux2)
    vae.bn.running_mean.normal_(0.0, 0.3)
    vae.bn.running_var.uniform_(0.5, 2.0)
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15),
        vae=vae,
        text_encoder=Qwen3ForCausalLM(qwen3_config(27, 8)),
        tokenizer=qwen_tokenizer(),
        transformer=network,
    )


def _z_image(network: Any) -> Any:
    return ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_kl(AutoencoderKL, scaling_factor=0.9, shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=Qwen3Model(qwen3_config(3, 8)),
        tokenizer=qwen_tokenizer(),
        transformer=network,
    )


def _qwen_image(network: Any) -> Any:
    vae = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[-0.2, 0.1, 0.3, 0.0],
        latents_std=[1.5, 0.7, 1.1, 2.0],
    )
    return QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, shift_terminal=0.02, max_image_seq_len=8192
        ),
        vae=vae,
        text_encoder=qwen25_vl(8),
        tokenizer=qwen_tokenizer(),
        transformer=network,
    )


def _sana(network: Any) -> Any:
    blocks = {"encoder_block_types": "ResBlock", "decoder_block_types": "ResBlock"}
    vae = AutoencoderDC(
        latent_channels=4,
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        encoder_layers_per_block=(1, 1, 1),
        decoder_layers_per_block=(1, 1, 1),
        encoder_qkv_multiscales=((), (), ()),
        decoder_qkv_multiscales=((), (), ()),
        scaling_factor=0.4,
        **blocks,
    )
    return SanaPipeline(
        tokenizer=gemma_tokenizer(),
        text_encoder=gemma2(8),
        vae=vae,
        transformer=network,
        scheduler=DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, num_train_timesteps=1000
        ),
    )


BUILDERS: dict[str, Callable[[Any], Any]] = {
    "flux2": _flux2,
    "z_image": _z_image,
    "qwen_image": _qwen_image,
    "sana": _sana,
}


def tiny_pipeline_of(family: str, network: Any, folder: Path) -> None:
    """Write the pipeline folder."""
    torch.manual_seed(1)
    BUILDERS[family](network).save_pretrained(folder)
