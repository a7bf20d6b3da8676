"""What the benchmarks of generation share: runs without scoring, and pipelines of real architectures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import prompts
from bench.generation.generate import Settings, actions_for, generate
from bench.methods.catalogue import Method
from bench.models.loading import quiet
from bench.models.reading import to_fuse
from bench.models.weights import digest_of
from bench.sampling.tree import Action, build_tree, executed, needed
from bench.store.records import Manifest
from bench.store.run_store import RunStore
from bench.suite.plan import make_plan, weights_names
from bench.suite.schema import Suite


def make_runs(suite: Suite, methods: Sequence[Method], results: Path, **settings: Any) -> list[Manifest]:
    """Generate the methods in one call, without scoring; returns their manifests."""
    digests = {name: digest_of(name) for name in weights_names(suite, methods)}
    plans = make_plan(suite, methods, prompts.load(suite.prompts), digests, adapters=to_fuse(suite, digests))
    stores = [RunStore.create(results, suite.name, plan.method.safe_name, plan.hash8) for plan in plans]
    generate(plans, suite, stores, Settings(**settings))
    return [store.manifest() for store in stores]


def network_steps(suite: Suite, methods: Sequence[Method]) -> tuple[int, int]:
    """(executed together, needed apart) steps of one sample, each side of a step counted once: before guidance."""
    digests = {name: digest_of(name) for name in weights_names(suite, methods)}
    plans = make_plan(suite, methods, prompts.load(suite.prompts), digests)
    runs: dict[str, tuple[Action, ...]] = {}
    for plan in plans:
        plan.identity["guidance"] = dict.fromkeys(plan.identity["guidance"], 1.0)
        runs[plan.method.name] = actions_for(plan, suite.sampler.steps)
    return sum(executed(build_tree(runs)).values()), sum(needed(runs).values())


def total(manifests: Sequence[Manifest]) -> tuple[float, int, int]:
    """(seconds, network evaluations executed, images) of several runs."""
    seconds = sum(float(manifest.timings["generate_seconds"] or 0.0) for manifest in manifests)
    evaluations = sum(int(manifest.counts["network_evaluations_executed"]) for manifest in manifests)
    return seconds, evaluations, sum(int(manifest.counts["images_generated"]) for manifest in manifests)


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "tiny": {
        "unet": {"block_out_channels": (32, 32, 64, 64), "cross_attention_dim": 64, "attention_head_dim": 8},
        "vae": {"block_out_channels": (32, 32, 32, 32), "scaling_factor": 0.18215},
        "text": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4},
    },
    "small": {
        "unet": {"block_out_channels": (128, 256, 384, 384), "cross_attention_dim": 256, "attention_head_dim": 8},
        "vae": {"block_out_channels": (32, 32, 32, 32), "scaling_factor": 0.18215},
        "text": {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4},
    },
    "sd15": {
        "unet": {"cross_attention_dim": 768, "attention_head_dim": 8},
        "vae": {"block_out_channels": (128, 256, 512, 512), "scaling_factor": 0.18215},
        "text": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    },
    "sdxl": {
        "unet": {
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 10),
            "attention_head_dim": (5, 10, 20),
            "cross_attention_dim": 2048,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        "vae": {"block_out_channels": (128, 256, 512, 512), "scaling_factor": 0.13025},
        "text": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
        "text_2": {
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_attention_heads": 20,
            "projection_dim": 1280,
        },
    },
}
"""Published configurations of Stable Diffusion 1.5 and XL; "small" has a UNet of 88 M parameters, for a processor, and
"tiny" only tries a script."""


def make_network(architecture: str, seed: int = 0) -> Any:
    """The UNet with random weights: speed and memory do not depend on their values."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    return UNet2DConditionModel(sample_size=64, **ARCHITECTURES[architecture]["unet"])


def write_pipeline(architecture: str, folder: Path) -> Path:
    """Write a pipeline folder of the architecture; returns it. Only the tokenizer is a small one."""
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from bench.shapes.build.tokens import write_clip_tokenizer

    facts = ARCHITECTURES[architecture]
    tokenizer = write_clip_tokenizer(folder / "tokenizer")
    words = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 77,
        **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")},
    }
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        **facts["vae"],
    )
    parts: dict[str, Any] = {
        "vae": vae,
        "unet": make_network(architecture),
        "tokenizer": tokenizer,
        "text_encoder": CLIPTextModel(CLIPTextConfig(**words, **facts["text"])),
        "scheduler": DDPMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1),
    }
    with quiet():
        if "text_2" in facts:
            second = write_clip_tokenizer(folder / "tokenizer_2")
            text_2 = CLIPTextModelWithProjection(CLIPTextConfig(**words, **facts["text_2"]))
            pipeline = StableDiffusionXLPipeline(
                **parts, tokenizer_2=second, text_encoder_2=text_2, add_watermarker=False
            )
        else:
            pipeline = StableDiffusionPipeline(
                **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
            )
        pipeline.save_pretrained(folder)
    return folder


def write_lora(architecture: str, path: Path, rank: int = 16) -> Path:
    """Write a LoRA of the attention layers with random factors; returns its path."""
    from peft import LoraConfig, get_peft_model_state_dict
    from safetensors.torch import save_file

    network = make_network(architecture)
    network.add_adapter(LoraConfig(r=rank, target_modules=["to_q", "to_k", "to_v", "to_out.0"]), "x")
    state = get_peft_model_state_dict(network, adapter_name="x")
    save_file({f"unet.{key}": 0.01 * torch.randn_like(value) for key, value in state.items()}, path)
    return path


def made_suite(folder: Path, architecture: str, tuned: Path | None = None, **changes: Any) -> Suite:
    """A suite over a pipeline that `write_pipeline` wrote, with prompts of the embedded world."""
    methods = {} if tuned is None else {"combined": {"weights": str(tuned), "switch_step": 30}}
    return Suite.model_validate(
        {
            "name": architecture,
            "model": {"family": "sdxl" if architecture == "sdxl" else "sd", "weights": str(folder)},
            "prompts": "shapes",
            "metrics": {"lpips": {}},
            "methods": methods,
            **changes,
        }
    )
