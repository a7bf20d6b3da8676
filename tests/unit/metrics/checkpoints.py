"""Tiny random checkpoints in every format that the loaders read, built once a session (seconds)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

WORDS = ["a", "red", "blue", "circle", "square", "on", "the", "left", "big", "small"]
MERGES = ["r e", "re d</w>", "b l", "b lu", "bl u", "blu e</w>"]
BPE_MERGES = ["r e", "re d</w>", "b l", "bl u", "blu e</w>"]


def bpe_vocabulary(start: str, end: str) -> dict[str, int]:
    from open_clip.tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    tokens = letters + [letter + "</w>" for letter in letters] + ["".join(m.split()) for m in BPE_MERGES]
    return {token: number for number, token in enumerate([*tokens, start, end])}


def make_clip(folder: Path, *, eos: int | None = None, image_size: int = 32) -> Path:
    from transformers import CLIPConfig, CLIPModel

    folder.mkdir(parents=True)
    vocab = bpe_vocabulary("<|startoftext|>", "<|endoftext|>")
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(BPE_MERGES) + "\n", encoding="utf-8")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": len(vocab), "max_position_embeddings": 20, "bos_token_id": len(vocab) - 2}
    text["eos_token_id"] = len(vocab) - 1 if eos is None else eos
    config = CLIPConfig(
        text_config=text, vision_config={**sizes, "image_size": image_size, "patch_size": 8}, projection_dim=24
    )
    torch.manual_seed(0)
    model = CLIPModel(config)
    torch.nn.init.normal_(model.text_projection.weight, std=0.5)
    model.save_pretrained(folder)
    return folder


def make_hps(folder: Path) -> Path:
    import open_clip

    folder.mkdir(parents=True)
    with gzip.open(folder / "bpe_simple_vocab.txt.gz", "wt", encoding="utf-8") as stream:
        stream.write("#version: 0.2\n" + "\n".join(BPE_MERGES))
    vocab = bpe_vocabulary("<start_of_text>", "<end_of_text>")
    config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 20, "vocab_size": len(vocab), "width": 32, "heads": 2, "layers": 2},
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    torch.manual_seed(1)
    model = open_clip.CLIP(**config)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "HPS_v2.1_shapes.safetensors")
    return folder


def image_reward_state(words: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    state: dict[str, torch.Tensor] = {}

    def add(name: str, *shape: int, scale: float = 0.3) -> None:
        state[name] = torch.randn(*shape, generator=generator) * scale

    def linear(name: str, out: int, into: int) -> None:
        add(f"{name}.weight", out, into, scale=into**-0.5)
        add(f"{name}.bias", out, scale=0.05)

    def norm(name: str, width: int) -> None:
        state[f"{name}.weight"] = torch.ones(width)
        state[f"{name}.bias"] = torch.zeros(width)

    vision, width, text = "blip.visual_encoder", 64, 32
    add(f"{vision}.cls_token", 1, 1, width, scale=0.02)
    add(f"{vision}.pos_embed", 1, 17, width, scale=0.02)
    add(f"{vision}.patch_embed.proj.weight", width, 3, 8, 8, scale=0.003)
    add(f"{vision}.patch_embed.proj.bias", width, scale=0.001)
    for block in (f"{vision}.blocks.{i}" for i in range(2)):
        norm(f"{block}.norm1", width)
        norm(f"{block}.norm2", width)
        linear(f"{block}.attn.qkv", 3 * width, width)
        linear(f"{block}.attn.proj", width, width)
        linear(f"{block}.mlp.fc1", 96, width)
        linear(f"{block}.mlp.fc2", width, 96)
    norm(f"{vision}.norm", width)
    embeddings = "blip.text_encoder.embeddings"
    add(f"{embeddings}.word_embeddings.weight", words, text)
    add(f"{embeddings}.position_embeddings.weight", 48, text)
    state[f"{embeddings}.position_ids"] = torch.arange(48)[None]
    norm(f"{embeddings}.LayerNorm", text)
    for layer in (f"blip.text_encoder.encoder.layer.{i}" for i in range(2)):
        for kind, source in (("attention", text), ("crossattention", width)):
            linear(f"{layer}.{kind}.self.query", text, text)
            linear(f"{layer}.{kind}.self.key", text, source)
            linear(f"{layer}.{kind}.self.value", text, source)
            linear(f"{layer}.{kind}.output.dense", text, text)
            norm(f"{layer}.{kind}.output.LayerNorm", text)
        linear(f"{layer}.intermediate.dense", 48, text)
        linear(f"{layer}.output.dense", text, 48)
        norm(f"{layer}.output.LayerNorm", text)
    linear("blip.vision_proj", 16, width)
    linear("blip.text_proj", 16, text)
    for index, (into, out) in {0: (text, 24), 2: (24, 16), 4: (16, 8), 6: (8, 4), 7: (4, 1)}.items():
        linear(f"mlp.layers.{index}", out, into)
    return state


def make_image_reward(folder: Path) -> Path:
    folder.mkdir(parents=True)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS[1:], *letters, *(f"##{x}" for x in letters), ","]
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    config = {"num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    (folder / "med_config.json").write_text(json.dumps({**config, "vocab_size": len(vocab) + 2}))
    save_file(image_reward_state(len(vocab) + 2), folder / "ImageReward.safetensors", metadata={"label": "shapes"})
    return folder


def make_lpips(folder: Path) -> Path:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lpips
        from torchvision.models import squeezenet1_1

        torch.manual_seed(3)
        trunk = squeezenet1_1(weights=None).features.state_dict()
    folder.mkdir(parents=True)
    lin = torch.load(Path(lpips.__file__).parent / "weights/v0.1/squeeze.pth", map_location="cpu", weights_only=True)
    state = {**{f"features.{key}": value for key, value in trunk.items()}, **lin}
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "squeeze.safetensors")
    return folder


def make_vit(folder: Path) -> Path:
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(4)
    config = ViTConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
    )
    model = ViTModel(config, add_pooling_layer=False)
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.2)
    # a final norm of ones would leave DreamSim's centred and normalised token as it is
    torch.nn.init.uniform_(model.layernorm.weight, 0.3, 2.0)
    torch.nn.init.normal_(model.layernorm.bias, std=0.3)
    model.save_pretrained(folder)
    return folder


def make_resnet(folder: Path) -> Path:
    from transformers import ResNetConfig, ResNetModel

    torch.manual_seed(5)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(folder)
    return folder


def make_dinov2(folder: Path, *, image_size: int = 20) -> Path:
    """Patches of 4 pixels, so 64 pixels make the 16 x 16 patches of the real one; positions for 5 x 5 of them."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(6)
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=image_size, patch_size=4
    )
    model = Dinov2Model(config)
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    return folder


def aesthetic_state(sizes: tuple[int, ...] = (24, 16, 12, 8, 4, 1)) -> dict[str, torch.Tensor]:
    """The keys of the published predictor, whose missing places are dropouts."""
    generator = torch.Generator().manual_seed(7)
    state = {}
    for index, into, out in zip((0, 2, 4, 6, 7), sizes, sizes[1:], strict=False):
        state[f"layers.{index}.weight"] = torch.randn(out, into, generator=generator) * into**-0.5
        state[f"layers.{index}.bias"] = torch.randn(out, generator=generator) * 0.1
    return state


def make_aesthetic(folder: Path) -> Path:
    make_clip(folder)
    torch.save(aesthetic_state(), folder / "sac+logos+ava1-l14-linearMSE.pth")
    return folder


MAKERS = {
    "pickscore": make_clip,
    "hpsv2": make_hps,
    "image_reward": make_image_reward,
    "lpips": make_lpips,
    "dreamsim": make_vit,
    "inception": make_resnet,
    "dinov2": make_dinov2,
    "aesthetic": make_aesthetic,
}
FOLDERS = {
    "image_reward": "image_reward",
    "hpsv2.1": "hpsv2",
    "pickscore": "pickscore",
    "clip_score": "pickscore",
    "lpips": "lpips",
    "dreamsim": "dreamsim",
    "dino": "dreamsim",
    "vendi": "dreamsim",
    "clip_diversity": "pickscore",
    "aesthetic": "aesthetic",
    "fid": "inception",
    "fid_clean": "inception",
    "fid_torchmetrics": "inception",
    "kid": "inception",
    "cmmd": "pickscore",
    "fd_dinov2": "dinov2",
}


def picture(seed: int, width: int = 64, height: int = 64, mode: str = "RGB") -> Image.Image:
    """A smooth random picture (noise alone would be the same picture to a small network)."""
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
