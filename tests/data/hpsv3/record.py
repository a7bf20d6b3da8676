"""What HPSv3's own code gives for a small model of its published form, recorded beside this file.

Run by an interpreter with transformers 4.45.2 and the wheel `hpsv3` 1.0.0 unpacked in DIR (its classes are imported
alone, without its package's __init__, which wants deepspeed and a GPU; `trl` is stood in for, since it only trains, and
the `autocast` of its forward pass names the device cuda, which does nothing on a CPU):

    python tests/data/hpsv3/record.py DIR

The model is `Qwen2VLRewardModelBT` with the head "ranknet" and two outputs, saved as its trainer saves it; pictures go
through its `process_vision_info`, texts through its INSTRUCTION and `prompt_with_special_token`. The chat template is
Qwen2-VL's, written here as it is known, not read from the hub.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

HERE = Path(__file__).parent
PROMPTS = ["a red circle on the left", "blue", 'a "big" square, {braces} and 日本 signs', ""]
SIZES = [(64, 64), (120, 40), (37, 90), (512, 300)]
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def tokenizer_files(folder: Path) -> int:
    """A byte-level vocabulary with a few merges, in Qwen2's files; returns its size with the special tokens."""
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    merges = ["r e", "re d", "Ġ b", "i m", "im a", "a t", "Ġ t"]
    vocabulary = {token: index for index, token in enumerate([*letters, *("".join(m.split()) for m in merges)])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    return len(vocabulary) + len(SPECIAL)


def main() -> None:
    root = sys.argv[1]
    for name in ("hpsv3", "hpsv3.model", "hpsv3.utils", "hpsv3.dataset"):
        module = types.ModuleType(name)
        module.__path__ = [f"{root}/{name.replace('.', '/')}"]
        sys.modules[name] = module
    sys.modules["trl"] = types.ModuleType("trl")
    sys.modules["trl"].RewardTrainer = object
    helper = types.ModuleType("hpsv3.utils.training_utils")
    helper.get_peft_state_non_lora_maybe_zero_3 = None
    sys.modules["hpsv3.utils.training_utils"] = helper

    from hpsv3.dataset.data_collator_qwen import INSTRUCTION, prompt_with_special_token
    from hpsv3.dataset.utils import process_vision_info
    from hpsv3.model.qwen2vl_trainer import Qwen2VLRewardModelBT
    from transformers import Qwen2Tokenizer, Qwen2VLConfig, Qwen2VLImageProcessor

    base = tokenizer_files(HERE)
    tokenizer = Qwen2Tokenizer(str(HERE / "vocab.json"), str(HERE / "merges.txt"), pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[1:]})
    assert len(tokenizer) == base
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    config = Qwen2VLConfig(
        vocab_size=base + 8,  # padded, as Qwen's embedding has more rows than the tokenizer tokens
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        rope_scaling={"type": "mrope", "mrope_section": [1, 1, 2]},
        vision_config={"depth": 2, "embed_dim": 16, "num_heads": 2, "mlp_ratio": 2, "hidden_size": 32},
        image_token_id=ids["<|image_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|im_end|>"],
        tie_word_embeddings=False,
    )
    tokenizer.save_pretrained(HERE)
    added = {"additional_special_tokens": ["<|Reward|>"]}
    # as its trainer does: the list of special tokens is replaced, the tokens of before stay in the vocabulary
    tokenizer.add_special_tokens(added)
    reward = tokenizer.convert_tokens_to_ids("<|Reward|>")
    torch.manual_seed(0)
    model = Qwen2VLRewardModelBT(config, output_dim=2, special_token_ids=[reward], rm_head_type="ranknet")
    model.resize_token_embeddings(len(tokenizer))
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    model.eval()
    model.config.pad_token_id = tokenizer.pad_token_id
    processor = Qwen2VLImageProcessor()
    processor.save_pretrained(HERE)
    config.save_pretrained(HERE)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, HERE / "HPSv3.safetensors")

    recorded = []
    for seed, (prompt, size) in enumerate(zip(PROMPTS, SIZES, strict=True)):
        text = INSTRUCTION.format(text_prompt=prompt) + prompt_with_special_token
        image = {
            "type": "image",
            "image": picture(seed, size),
            "min_pixels": 256 * 28 * 28,
            "max_pixels": 256 * 28 * 28,
        }
        messages = [{"role": "user", "content": [image, {"type": "text", "text": text}]}]
        images, _ = process_vision_info(messages)
        vision = processor(images=images, return_tensors="pt")
        whole = tokenizer.apply_chat_template(
            messages, chat_template=TEMPLATE, tokenize=False, add_generation_prompt=True
        )
        count = int(vision["image_grid_thw"].prod()) // processor.merge_size**2
        whole = whole.replace("<|image_pad|>", "<|image_pad|>" * count)
        tokens = tokenizer([whole], return_tensors="pt", padding=True)
        with torch.no_grad():
            logits = model(return_dict=True, **tokens, **vision)["logits"]
        recorded.append(
            {
                "seed": seed,
                "size": size,
                "prompt": prompt,
                "grid": vision["image_grid_thw"].tolist(),
                "resized": list(images[0].size),
                "pixels": [float(vision["pixel_values"].double().mean()), float(vision["pixel_values"].double().std())],
                "tokens": int(tokens["input_ids"].shape[1]),
                "ids": [int(i) for i in tokens["input_ids"][0, -40:]],
                "logits": logits[0].tolist(),
            }
        )
    (HERE / "recorded.json").write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
