"""What one tensor of an adapter's file is: which part of the pipeline, which layer, which factor. Reads no tensor."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

NETWORK = "network"
"""The part that denoises: UNet or transformer."""
PLAIN = "plain"
"""A tensor that is itself a parameter of the network, not a factor of one."""


@dataclass(frozen=True, slots=True)
class Key:
    """One tensor's place: `part` (NETWORK or a text encoder's name), the layer's name, the kind and the factor's name.

    `adapter` is the adapter's name that PEFT leaves in the keys of a model that is dumped whole ("" elsewhere);
    `prefix` is what said which part it is, "" if nothing did.
    """

    part: str
    layer: str
    kind: str
    factor: str
    adapter: str = ""
    prefix: str = ""


_NAME = r"(?:\.(?P<adapter>[^.]+))?"
# Endings of a key -> kind of adapter and name of the factor; the first that fits decides.
_ENDINGS = tuple(
    (re.compile(rf"(?P<layer>.+?){ending}"), kind, factor)
    for ending, kind, factor in (
        (rf"\.lora_A{_NAME}\.weight", "lora", "A"),
        (rf"\.lora_B{_NAME}\.weight", "lora", "B"),
        (rf"\.lora_B{_NAME}\.bias", "lora", "B_bias"),
        (rf"\.lora_A{_NAME}\.bias", "refused", "a LoRA whose first matrix has a bias"),
        (rf"\.lora_magnitude_vector{_NAME}(?:\.weight)?", "lora", "magnitude"),
        (r"\.dora_scale", "", "dora_scale"),
        (r"\.lora_down\.weight", "lora", "A"),
        (r"\.lora_up\.weight", "lora", "B"),
        (r"\.lora_mid\.weight", "lora", "mid"),
        (r"(?:\.lora|\.lora_linear_layer|(?<=_lora)|(?<=_lora[12]))\.down\.weight", "lora", "A"),
        (r"(?:\.lora|\.lora_linear_layer|(?<=_lora)|(?<=_lora[12]))\.up\.weight", "lora", "B"),
        (r"(?:\.lora)?\.alpha", "", "alpha"),
        *(
            (rf"\.(?P<factor>hada_{factor}){_NAME}", "loha", factor)
            for factor in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")
        ),
        *(
            (rf"\.(?P<factor>lokr_{factor}){_NAME}", "lokr", factor)
            for factor in ("w1_a", "w1_b", "w1", "w2_a", "w2_b", "w2", "t2")
        ),
        (rf"\.oft_R{_NAME}\.weight", "oft", "R"),
        (rf"\.oft_r{_NAME}", "oft_r", "r"),
        (r"\.oft_blocks", "oft_blocks", "blocks"),
        (r"\.rescale", "oft_blocks", "rescale"),
        (r"\.(?:diff|w_norm)", "diff", "weight"),
        (r"\.(?:diff_b|b_norm)", "diff", "bias"),
        (r"\.(?:scale_weight|weight_scale|scaled_fp8|input_scale)", "refused", "weights in scaled fp8"),
        (r"\.(?:a1|a2|b1|b2|bm1|bm2)\.weight", "refused", "a GLoRA adapter"),
        (r"\.on_input", "refused", "an (IA)^3 adapter"),
        (r"\.boft_.+", "refused", "a BOFT adapter"),
        (r"\.lora_embedding_[AB].*", "refused", "a LoRA of an embedding"),
        (r"\.(?:lora_E|ranknum).*", "refused", "an AdaLoRA adapter"),
        (r"\.vera_.+", "refused", "a VeRA adapter"),
        (r"\.hra_.+", "refused", "an HRA adapter"),
        (r":(?:up|down|alpha|rank)", "refused", "a LoRA in cloneofsimo's layout"),
    )
)
_MARKED = frozenset({"lora", "loha", "lokr", "oft", "oft_r", "oft_blocks", "diff"})
_WRAPPERS = (
    "module.",
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "model.",
    "base_model.",
    "dit.",
)
# What parallel training and torch.compile put around modules anywhere in a path.
_INSIDE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_PARTS = {
    "unet.": NETWORK,
    "transformer.": NETWORK,
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "text_encoder_3.": "text_encoder_3",
    "text_encoders.clip_l.transformer.": "clip_l",
    "text_encoders.clip_g.transformer.": "clip_g",
    "text_encoders.t5xxl.transformer.": "t5",
}
_FLAT_PARTS = {
    "lora_unet_": NETWORK,
    "oft_unet_": NETWORK,
    "lora_transformer_": NETWORK,
    "lycoris_": NETWORK,
    "lora_te_": "te1",
    "lora_te1_": "te1",
    "lora_te2_": "te2",
    "lora_te3_": "te3",
}
_ENCODERS = {
    "sd": {"te1": "text_encoder", "clip_l": "text_encoder"},
    "sdxl": {"te1": "text_encoder", "te2": "text_encoder_2", "clip_l": "text_encoder", "clip_g": "text_encoder_2"},
    "sd3": {
        "te1": "text_encoder",
        "te2": "text_encoder_2",
        "te3": "text_encoder_3",
        "clip_l": "text_encoder",
        "clip_g": "text_encoder_2",
        "t5": "text_encoder_3",
    },
    # kohya numbers FLUX's T5 as the third, OneTrainer as the second.
    "flux": {
        "te1": "text_encoder",
        "te2": "text_encoder_2",
        "te3": "text_encoder_2",
        "clip_l": "text_encoder",
        "t5": "text_encoder_2",
    },
    "pixart": {"te1": "text_encoder", "te3": "text_encoder", "t5": "text_encoder"},
}
"""How a family's text encoders are numbered or called outside of diffusers -> their names in diffusers."""


def is_adapter(keys: Iterable[str]) -> bool:
    """Whether these are the tensors of an adapter: of any kind, supported or not."""
    return any(kind in _MARKED or kind == "refused" or factor == "dora_scale" for kind, factor in map(_kind, keys))


def parse_key(key: str, family: str | None) -> Key:
    """What the tensor with this key is, in a file for a model of this family."""
    name = key
    for wrapper in _INSIDE:
        name = name.replace(wrapper, "")
    part, name, prefix = _part_of(name)
    if part != NETWORK:
        part = _ENCODERS.get(family or "", {}).get(part, part)
    for pattern, kind, factor in _ENDINGS:
        if match := pattern.fullmatch(name):
            groups = match.groupdict()
            return Key(part, _inner(match["layer"]), kind, factor, groups.get("adapter") or "", prefix)
    return _plain(part, name, prefix)


def _kind(key: str) -> tuple[str, str]:
    return next(((kind, factor) for pattern, kind, factor in _ENDINGS if pattern.fullmatch(key)), (PLAIN, ""))


def _part_of(name: str) -> tuple[str, str, str]:
    """The part, the name without what was around it, and the prefix that said so; wrappers in any order and number."""
    part, said = NETWORK, ""
    while True:
        wrapper = next((one for one in (*_PARTS, *_WRAPPERS, *_FLAT_PARTS) if name.startswith(one)), None)
        if wrapper is None:
            return part, name, said
        name = name.removeprefix(wrapper)
        if wrapper in _PARTS or wrapper in _FLAT_PARTS:
            part, said = _PARTS.get(wrapper) or _FLAT_PARTS[wrapper], wrapper


def _inner(layer: str) -> str:
    """A layer's name without what PEFT puts between a layer and its adapter."""
    return layer.replace(".base_layer", "")


_SAVED = re.compile(r"(?P<layer>.+)\.modules_to_save\.(?P<adapter>[^.]+)\.(?P<factor>[^.]+)")


def _plain(part: str, name: str, prefix: str) -> Key:
    """A parameter by its own name; of modules that PEFT saves whole, both copies."""
    if match := _SAVED.fullmatch(name):
        return Key(part, _inner(match["layer"]), PLAIN, match["factor"], match["adapter"], prefix)
    layer, _, factor = name.rpartition(".")
    if layer.endswith(".original_module"):
        return Key(part, _inner(layer.removesuffix(".original_module")), "original", factor, "", prefix)
    return Key(part, _inner(layer), PLAIN, factor, "", prefix)
