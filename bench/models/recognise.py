"""What a file or folder is that is no checkpoint of the suite's model, in the words of the field. Reads no tensor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import MissingError
from bench.models.families import TITLES, base_folder, family_of_config, family_of_index, family_of_keys
from bench.models.loading import check_config
from bench.models.peft_files import LORA_FILES
from bench.models.single_file import keys_of
from bench.registry.families import FAMILIES

HOW_TO_ADD = "docs/plugins.md says how to add a family"
_TITLES = {
    "Flux2": "FLUX.2",
    "FluxKontext": "FLUX.1 Kontext",
    "HiDreamImage": "HiDream",
    "StableCascade": "Stable Cascade",
    "CogView4": "CogView4",
}
"""Names that do not follow from the class; of the others the words of the class are the name."""
_CLASSES = (
    ("ControlNet", "a ControlNet"),
    ("T2IAdapter", "a T2I-Adapter"),
    ("MotionAdapter", "a motion adapter"),
    ("Autoencoder", "a VAE"),
    ("VQModel", "a VAE"),
    ("SafetyChecker", "a safety checker"),
    ("CLIPVision", "an image encoder"),
    ("CLIPText", "a text encoder"),
    ("T5Encoder", "a text encoder"),
    ("T5For", "a text encoder"),
    ("UMT5", "a text encoder"),
    ("ForCausalLM", "a language model"),
    ("Gemma", "a language model"),
    ("ForConditionalGeneration", "a language model"),
    ("Scheduler", "a scheduler"),
    ("Tokenizer", "a tokenizer"),
)
_KEYS = (
    (r"(^|\.)controlnet_cond_embedding\.|^control_model\.", "a ControlNet"),
    (r"^ip_adapter\.|^image_proj\.|^image_proj_model\.", "an IP-Adapter"),
    (r"^(first_stage_model|vae)\.|^decoder\.(conv_in|up_blocks|up\.)|^encoder\.(conv_in|down_blocks|down\.)", "a VAE"),
    (r"(^|\.)encoder\.block\.\d+\.layer\.0\.SelfAttention\.", "a text encoder (T5)"),
    (r"(^|\.)encoder\.layers\.\d+\.self_attn\.", "a text encoder (CLIP)"),
    (r"^emb_params$|^clip_[lg]$|^<.*>$", "a textual inversion (name it in `embeddings`)"),
    (r"^distilled_guidance_layer\.", "a network of Chroma"),
    (r"^exp_avg\.|\.exp_avg(_sq)?$", "the state of an optimiser"),
)
_OTHER_NETWORKS = ((r"^noise_refiner\.", "a network of Lumina 2"),)
"""Networks of no family here, by names that some of a family have as well."""
_PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})


def families_read() -> str:
    """ "families read: sd, sdxl, ...", with those of plug-ins."""
    return f"families read: {', '.join(FAMILIES.names())}; {HOW_TO_ADD}"


def title_of_class(name: str) -> str:
    """The name of a model family from a class of diffusers: "QwenImagePipeline" -> "Qwen-Image"."""
    stem = re.sub(r"(Pipeline|(Transformer|UNet)?\w?D?(ConditionModel|Model)|Transformer.*|UNet.*)$", "", name)
    return _TITLES.get(stem) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", stem) or name


def pipeline_of(index: Mapping[str, Any]) -> str:
    """What a pipeline is, from its model_index.json: "a Qwen-Image pipeline (QwenImagePipeline)"."""
    name = str(index.get("_class_name"))
    family = family_of_index(index)
    title = TITLES[family] if family else title_of_class(name)
    article = "an" if title[:1] in "AEIO" else "a"
    return f"{article} {title} pipeline" + ("" if family else f" ({name})")


def is_foreign(index: Mapping[str, Any]) -> bool:
    """Whether a model_index.json names a pipeline of diffusers that is of no family here.

    A class of the authors' own tells nothing: its network says what it is.
    """
    import diffusers

    name = index.get("_class_name")
    return isinstance(name, str) and family_of_index(index) is None and hasattr(diffusers, name)


def family_of_pipeline(folder: Path, index: Mapping[str, Any], part: str) -> str | None:
    """The family of a pipeline folder, by its class, else by its network (`part` first); None if nothing tells.

    Raises MissingError, saying what it is, for a pipeline or a network of a family that is not read.
    """
    found = family_of_index(index)
    if found is None and is_foreign(index):
        raise MissingError(f"{folder} is {pipeline_of(index)}; {families_read()}")
    if found is not None:
        return found
    for name in (part, "unet", "transformer"):
        network = base_folder(folder, name)
        if (network / "config.json").is_file():
            config = check_config(network)
            if (family := family_of_config(config)) is None:
                raise MissingError(f"{folder} contains {what_config(config)}; {families_read()}")
            return family
    return None


def read_index(folder: Path) -> dict[str, Any]:
    """The model_index.json of a base model. Raises MissingError, saying what else it is, where there is none."""
    if folder.is_file():
        what = what_unreadable(folder) or what_keys(keys_of(folder)) or "a single file"
        raise MissingError(
            f"{folder} is a single file ({what}), and a base model must be a pipeline folder: load the whole pipeline "
            "with diffusers' `from_single_file` and write it with `save_pretrained`"
        )
    if folder.is_dir() and not (folder / "model_index.json").is_file():
        config = check_config(folder) if (folder / "config.json").is_file() else {}
        adapter = any((folder / name).is_file() for name in LORA_FILES)
        what = what_config(config) or ("a LoRA" if adapter else "no pipeline")
        raise MissingError(
            f"{folder} is {what}: it has no model_index.json, and a base model must be a pipeline folder as diffusers' "
            "`save_pretrained` writes it"
        )
    return check_config(folder, "model_index.json")


def what_config(config: Mapping[str, Any]) -> str | None:
    """What a config.json is of; None if nothing tells."""
    named = [config.get("_class_name"), *(config.get("architectures") or ())]
    names = [str(name) for name in named if name]
    for name in names:
        for part, what in _CLASSES:
            if part in name:
                return f"{what} ({name})"
    if "peft_type" in config:
        return f"a PEFT adapter ({config['peft_type']})"
    family = family_of_config(config)
    if names and family:
        return f"a {names[0]} of {TITLES[family]}"
    return f"a network of {title_of_class(names[0])} ({names[0]})" if names else None


def what_keys(keys: Iterable[str]) -> str | None:
    """What the tensors of a file are of; None if nothing tells."""
    names = list(keys)
    from bench.models.lora import is_lora  # it brings torch, which a look at folders does not need

    if is_lora(names):
        return "a LoRA"
    family = family_of_keys(names)
    known: list[tuple[str, str]] = [(".", f"a network of {TITLES[family]}")] if family else []
    for pattern, what in (*_KEYS, *known, *_OTHER_NETWORKS):
        found = re.compile(pattern)
        if any(found.search(name) for name in names):
            return what
    return None


def quantised(keys: Iterable[str]) -> str | None:
    """How the weights of a file are quantised, where they are of no use without their scales; None if they are not."""
    for key in keys:
        if key == "scaled_fp8" or key.endswith((".scale_weight", ".weight_scale", ".scale_input", ".comfy_quant")):
            return "scaled fp8 weights"
        if ".quant_state." in key or key.endswith((".absmax", ".quant_map", ".SCB")):
            return "weights quantised by bitsandbytes"
    return None


def what_unreadable(path: Path) -> str | None:
    """What a file is whose format is not read, from its ending; None for one that might be."""
    if path.suffix in _PICKLED:
        return (
            f"a pickled file ({path.suffix}), which can run code when it is read: it is not loaded; convert it to "
            "safetensors"
        )
    if path.suffix == ".gguf":
        return "a GGUF file (quantised weights), which is not read: take the safetensors of the network"
    return None
