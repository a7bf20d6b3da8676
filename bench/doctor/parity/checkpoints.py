"""Small checkpoints of the image scorers in the formats that their originals publish and read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.doctor.parity.tensors import Draw

State = dict[str, Tensor]

IMAGE = 224
WIDTH, TEXT_WIDTH, LAYERS, EMBED = 128, 64, 2, 32  # vision heads are 64 wide where the original says so
BERT_POSITIONS = 512
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
_HUB_REVISION = "0" * 40


def _bert_words() -> list[str]:
    """A WordPiece vocabulary with whole words, pieces, digits, punctuation and some other scripts."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(digit) for digit in range(10)]
    others = list("краснигуфоещблые") + list("一只红色的猫坐在椅子上") + list("دائرةحمعلىخفزق") + list("नलपषठभम")
    marks = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~½€☃“”")
    words = ["red", "circle", "photo", "cat", "astronaut", "riding", "horse", "very", "big", "word", "the", "and"]
    pieces = ["##s", "##ing", "##ed", "##er", "##tion"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    text = [*words, *letters, *others, *marks, *pieces, *(f"##{item}" for item in (*letters, *others))]
    return special + list(dict.fromkeys(text))


def _blip_vision(draw: Draw) -> Iterator[tuple[str, Tensor]]:
    root = "blip.visual_encoder"
    # Small on purpose: the eps of the layer norms (1e-6, not 1e-5) must show.
    yield f"{root}.cls_token", draw.tensor(f"{root}.cls_token", 1, 1, WIDTH, scale=0.02)
    yield f"{root}.pos_embed", draw.tensor(f"{root}.pos_embed", 1, (IMAGE // 16) ** 2 + 1, WIDTH, scale=0.01)
    name = f"{root}.patch_embed.proj"
    yield f"{name}.weight", draw.tensor(f"{name}.weight", WIDTH, 3, 16, 16, scale=0.001)
    yield f"{name}.bias", draw.tensor(f"{name}.bias", WIDTH, scale=0.001)
    for block in (f"{root}.blocks.{index}" for index in range(LAYERS)):
        yield from draw.norm(f"{block}.norm1", WIDTH)
        yield from draw.linear(f"{block}.attn.qkv", 3 * WIDTH, WIDTH)
        yield from draw.linear(f"{block}.attn.proj", WIDTH, WIDTH)
        yield from draw.norm(f"{block}.norm2", WIDTH)
        yield from draw.linear(f"{block}.mlp.fc1", 4 * WIDTH, WIDTH)
        yield from draw.linear(f"{block}.mlp.fc2", WIDTH, 4 * WIDTH)
    yield from draw.norm(f"{root}.norm", WIDTH)


def _blip_text(draw: Draw, words: int) -> Iterator[tuple[str, Tensor]]:
    root, width = "blip.text_encoder", TEXT_WIDTH
    name = f"{root}.embeddings"
    yield f"{name}.word_embeddings.weight", draw.tensor(f"{name}.word_embeddings.weight", words, width, scale=0.02)
    shape = (BERT_POSITIONS, width)
    yield f"{name}.position_embeddings.weight", draw.tensor(f"{name}.position_embeddings.weight", *shape, scale=0.01)
    yield f"{name}.position_ids", torch.arange(BERT_POSITIONS)[None]
    yield from draw.norm(f"{name}.LayerNorm", width)
    for layer in (f"{root}.encoder.layer.{index}" for index in range(LAYERS)):
        for kind, source in (("attention", width), ("crossattention", WIDTH)):
            yield from draw.linear(f"{layer}.{kind}.self.query", width, width)
            yield from draw.linear(f"{layer}.{kind}.self.key", width, source)
            yield from draw.linear(f"{layer}.{kind}.self.value", width, source)
            yield from draw.linear(f"{layer}.{kind}.output.dense", width, width)
            yield from draw.norm(f"{layer}.{kind}.output.LayerNorm", width)
        yield from draw.linear(f"{layer}.intermediate.dense", 2 * width, width)
        yield from draw.linear(f"{layer}.output.dense", width, 2 * width)
        yield from draw.norm(f"{layer}.output.LayerNorm", width)


def image_reward(draw: Draw, folder: Path) -> None:
    """ImageReward.pt (a plain state dict with all official keys), med_config.json, and the tokenizer's vocab.txt."""
    folder.mkdir(parents=True)
    words = _bert_words()
    vocabulary = "\n".join(words) + "\n"
    config = {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": TEXT_WIDTH,
        "initializer_range": 0.02,
        "intermediate_size": 2 * TEXT_WIDTH,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": BERT_POSITIONS,
        "model_type": "bert",
        "num_attention_heads": 4,
        "num_hidden_layers": LAYERS,
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "vocab_size": len(words) + 2,
        "encoder_width": TEXT_WIDTH,  # as published: not the vision width, which overwrites it
        "add_cross_attention": True,
    }
    state = dict([*_blip_vision(draw), *_blip_text(draw, len(words) + 2)])
    for name, width in (("blip.vision_proj", WIDTH), ("blip.text_proj", TEXT_WIDTH)):
        state.update(draw.linear(name, 256, width))
    for index, (into, out) in {0: (TEXT_WIDTH, 1024), 2: (1024, 128), 4: (128, 64), 6: (64, 16), 7: (16, 1)}.items():
        state.update(draw.linear(f"mlp.layers.{index}", out, into))
    torch.save(state, folder / "ImageReward.pt")
    (folder / "med_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    draw.note("image_reward", (json.dumps(config) + vocabulary).encode())
    # the original asks for 'bert-base-uncased', which transformers first looks up as a folder beside it
    bert = folder / "bert-base-uncased"
    bert.mkdir()
    (bert / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    (bert / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 512}))
    (bert / "config.json").write_text(json.dumps({"model_type": "bert"}))


HPS_CONFIG: dict[str, Any] = {
    "embed_dim": EMBED,
    "vision_cfg": {"image_size": IMAGE, "layers": LAYERS, "width": 160, "head_width": 80, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": TEXT_WIDTH, "heads": 4, "layers": LAYERS},
}


def _open_clip_blocks(draw: Draw, scope: str, root: str, width: int) -> Iterator[tuple[str, Tensor]]:
    for block in (f"{root}.resblocks.{index}" for index in range(LAYERS)):
        for key, value in (
            *draw.norm(f"{scope} {block}.ln_1", width),
            *draw.linear(f"{scope} {block}.attn.in_proj", 3 * width, width),
            *draw.linear(f"{scope} {block}.attn.out_proj", width, width),
            *draw.norm(f"{scope} {block}.ln_2", width),
            *draw.linear(f"{scope} {block}.mlp.c_fc", 4 * width, width),
            *draw.linear(f"{scope} {block}.mlp.c_proj", width, 4 * width),
        ):
            yield key.removeprefix(f"{scope} ").replace("in_proj.", "in_proj_"), value


def _hps_state(draw: Draw, version: str) -> State:
    vision, text = HPS_CONFIG["vision_cfg"]["width"], TEXT_WIDTH
    tokens = (IMAGE // 14) ** 2 + 1
    shapes: dict[str, tuple[tuple[int, ...], float]] = {
        "positional_embedding": ((77, text), 0.3),
        "text_projection": ((text, EMBED), text**-0.5),
        "visual.class_embedding": ((vision,), 0.5),
        "visual.positional_embedding": ((tokens, vision), 0.3),
        "visual.proj": ((vision, EMBED), vision**-0.5),
        "visual.conv1.weight": ((vision, 3, 14, 14), 588**-0.5),
        "token_embedding.weight": ((49408, text), 0.5),
    }
    state = {key: draw.tensor(f"{version} {key}", *shape, scale=scale) for key, (shape, scale) in shapes.items()}
    state["logit_scale"] = torch.tensor(4.6052)
    for name, width in (("visual.ln_pre", vision), ("visual.ln_post", vision), ("ln_final", text)):
        state.update({key.removeprefix(f"{version} "): value for key, value in draw.norm(f"{version} {name}", width)})
    state.update(_open_clip_blocks(draw, version, "visual.transformer", vision))
    state.update(_open_clip_blocks(draw, version, "transformer", text))
    return {key: value.half() for key, value in state.items()}  # as published


def hpsv2(draw: Draw, folder: Path, hub: Path) -> None:
    """HPS_v2_compressed.pt and HPS_v2.1_compressed.pt (fp16), the model's configuration, and a hub cache of them.

    The original first fetches laion's ViT-H-14, which it then overwrites: the cache holds v2.0 in its place.
    """
    from open_clip.tokenizer import default_bpe

    folder.mkdir(parents=True)
    for version, name in (("hpsv2", "HPS_v2_compressed.pt"), ("hpsv2.1", "HPS_v2.1_compressed.pt")):
        torch.save({"state_dict": _hps_state(draw, version)}, folder / name)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": HPS_CONFIG}), encoding="utf-8")
    (folder / "official").mkdir()
    (folder / "official" / "ViT-H-14.json").write_text(json.dumps(HPS_CONFIG), encoding="utf-8")
    shutil.copyfile(default_bpe(), folder / "official" / VOCABULARY)  # its wheel lacks it
    draw.note("hpsv2", json.dumps(HPS_CONFIG).encode())
    _cache(hub, "xswu/HPSv2", {name: folder / name for name in ("HPS_v2_compressed.pt", "HPS_v2.1_compressed.pt")})
    laion = {"open_clip_pytorch_model.bin": folder / "HPS_v2_compressed.pt"}
    _cache(hub, "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", laion)


def _cache(hub: Path, repository: str, files: dict[str, Path]) -> None:
    """A repository as the hub client keeps it, so that the originals find it without a network."""
    root = hub / f"models--{repository.replace('/', '--')}"
    snapshot = root / "snapshots" / _HUB_REVISION
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(_HUB_REVISION)
    for name, target in files.items():
        (snapshot / name).symlink_to(target.resolve())


def _clip_tower(draw: Draw, scope: str, root: str, width: int) -> Iterator[tuple[str, Tensor]]:
    for layer in (f"{root}.encoder.layers.{index}" for index in range(LAYERS)):
        parts = [draw.linear(f"{scope} {layer}.self_attn.{name}_proj", width, width) for name in ("q", "k", "v", "out")]
        parts += [draw.norm(f"{scope} {layer}.layer_norm{number}", width) for number in (1, 2)]
        parts += [draw.linear(f"{scope} {layer}.mlp.fc1", 4 * width, width)]
        parts += [draw.linear(f"{scope} {layer}.mlp.fc2", width, 4 * width)]
        for part in parts:
            yield from ((key.removeprefix(f"{scope} "), value) for key, value in part)


def _clip_state(draw: Draw, scope: str, patch: int) -> State:
    tokens = (IMAGE // patch) ** 2 + 1
    text, vision = "text_model", "vision_model"
    shapes: dict[str, tuple[tuple[int, ...], float]] = {
        f"{text}.embeddings.token_embedding.weight": ((49408, TEXT_WIDTH), 0.5),
        f"{text}.embeddings.position_embedding.weight": ((77, TEXT_WIDTH), 0.3),
        f"{vision}.embeddings.class_embedding": ((WIDTH,), 0.5),
        f"{vision}.embeddings.patch_embedding.weight": ((WIDTH, 3, patch, patch), (3 * patch**2) ** -0.5),
        f"{vision}.embeddings.position_embedding.weight": ((tokens, WIDTH), 0.3),
        "visual_projection.weight": ((EMBED, WIDTH), WIDTH**-0.5),
        "text_projection.weight": ((EMBED, TEXT_WIDTH), TEXT_WIDTH**-0.5),
    }
    state = {key: draw.tensor(f"{scope} {key}", *shape, scale=scale) for key, (shape, scale) in shapes.items()}
    norms = ((f"{text}.final_layer_norm", TEXT_WIDTH), (f"{vision}.pre_layrnorm", WIDTH))
    for name, width in (*norms, (f"{vision}.post_layernorm", WIDTH)):
        state.update({key.removeprefix(f"{scope} "): value for key, value in draw.norm(f"{scope} {name}", width)})
    state.update(_clip_tower(draw, scope, text, TEXT_WIDTH))
    state.update(_clip_tower(draw, scope, vision, WIDTH))
    state["logit_scale"] = torch.tensor(4.6052)
    state[f"{text}.embeddings.position_ids"] = torch.arange(77)[None]  # buffers that transformers 4 saved
    state[f"{vision}.embeddings.position_ids"] = torch.arange(tokens)[None]
    return state


def clip(draw: Draw, folder: Path, patch: int, activation: str) -> None:
    """A CLIPModel folder as transformers 4 saved it, with the tokenizer's and the preprocessor's files."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    common = {"num_hidden_layers": LAYERS, "hidden_act": activation, "layer_norm_eps": 1e-5, "projection_dim": EMBED}
    text = {**common, "hidden_size": TEXT_WIDTH, "intermediate_size": 4 * TEXT_WIDTH, "num_attention_heads": 4}
    text |= {"vocab_size": 49408, "max_position_embeddings": 77, "bos_token_id": 0, "eos_token_id": 2}
    vision = {**common, "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 2}
    vision |= {"image_size": IMAGE, "patch_size": patch, "num_channels": 3}
    config = {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": EMBED,
        "logit_scale_init_value": 2.6592,
        "text_config": {**text, "model_type": "clip_text_model"},
        "vision_config": {**vision, "model_type": "clip_vision_model"},
        "torch_dtype": "float32",
        "transformers_version": "4.27.4",
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(_clip_state(draw, folder.name, patch), folder / "model.safetensors", metadata={"format": "pt"})
    draw.note(folder.name, json.dumps(config).encode())
    _clip_tokenizer(folder)
    preprocessor = {
        "crop_size": IMAGE,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": IMAGE,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor), encoding="utf-8")


def _clip_tokenizer(folder: Path) -> None:
    """CLIP's own vocabulary of 49,408 tokens, from the copy that open_clip ships, under transformers' names."""
    from open_clip.tokenizer import SimpleTokenizer

    source = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(token, token): number for token, number in source.encoder.items()}
    merges = sorted(source.bpe_ranks, key=lambda pair: source.bpe_ranks[pair])
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges if len(pair) == 2)]
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    end = "<|endoftext|>"
    special = {"bos_token": "<|startoftext|>", "eos_token": end, "unk_token": end, "pad_token": end}
    (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
    settings = {**special, "do_lower_case": True, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
