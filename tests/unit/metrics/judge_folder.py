"""A small Qwen3-VL folder in the published layout: config, shards with index, tokenizer, chat template, preprocessor.

The weights are random. The tokenizer has Qwen's split rule, its control tokens and a vocabulary of bytes and a few
merged words, so that " 7" and " 2" begin with one token (the space), as in the published one.
"""

from __future__ import annotations

import json
from pathlib import Path

CONTROLS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
WORDS = ("Yes", "yes", "No", "no", "two", "Two", "seven", "Seven")
TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}"
    "{%- for part in message.content %}{%- if part.type == 'image' %}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif 'text' in part %}{{- part.text }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def write_judge(folder: Path, seed: int = 0, decided: bool = False) -> Path:
    """The folder, made anew. `decided`: its answers begin with Yes, No or a letter from A to D."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    folder.mkdir(parents=True)
    vocabulary, merges = vocabulary_of(WORDS)
    ids = {name: len(vocabulary) + place for place, name in enumerate(CONTROLS)}
    text = {
        "vocab_size": len(vocabulary) + len(CONTROLS) + 5,  # padded, as the published one is
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5_000_000.0,
            "mrope_section": [2, 1, 1],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": 3,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_heads": 2,
        "out_hidden_size": 32,
        "patch_size": 16,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0, 1],
        "initializer_range": 0.3,
    }
    config = Qwen3VLConfig(
        text_config={**text, "initializer_range": 0.25},
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(config)
    if decided:  # one direction of the hidden state is the same for all inputs, and these tokens alone follow it
        with torch.no_grad():
            model.model.language_model.embed_tokens.weight[:, 0] = 12.0
            model.lm_head.weight *= 0.4
            model.lm_head.weight[:, 0] = -4.0
            model.lm_head.weight[[vocabulary[word] for word in ("Yes", "No", "A", "B", "C", "D")], 0] = 4.0
    model.save_pretrained(folder, max_shard_size="60KB")
    _write_tools(folder, vocabulary, merges, ids)
    return folder


def vocabulary_of(words: tuple[str, ...]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Bytes, and the pieces that spell the words, alone and behind a space; with the merges that make them."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    symbols = list(bytes_to_unicode().values())
    merges: list[tuple[str, str]] = []
    for word in words:
        merges += [(word[:end], word[end]) for end in range(1, len(word)) if (word[:end], word[end]) not in merges]
    merges += [("Ġ", word) for word in words]
    pieces = dict.fromkeys([*symbols, *(left + right for left, right in merges)])
    return {piece: number for number, piece in enumerate(pieces)}, merges


def _write_tools(folder: Path, vocabulary: dict[str, int], merges: list[tuple[str, str]], ids: dict[str, int]) -> None:
    added = {
        str(number): {
            "content": name,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for name, number in ids.items()
    }
    tokenizer = {
        "added_tokens_decoder": added,
        "additional_special_tokens": list(CONTROLS[1:]),
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "Qwen2Tokenizer",
        "model_max_length": 4096,
        "errors": "replace",
        "clean_up_tokenization_spaces": False,
    }
    preprocessor = {
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "size": {"shortest_edge": 4096, "longest_edge": 16384},  # the published one: 65,536 to 16,777,216
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    generation = {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.0}
    generation["eos_token_id"] = [ids["<|im_end|>"], ids["<|endoftext|>"]]  # type: ignore[assignment]
    content = {
        "vocab.json": vocabulary,
        "tokenizer_config.json": tokenizer,
        "preprocessor_config.json": preprocessor,
        "generation_config.json": generation,
        "chat_template.json": {"chat_template": TEMPLATE},
    }
    for name, what in content.items():
        (folder / name).write_text(json.dumps(what), encoding="utf-8")
    lines = [f"{left} {right}" for left, right in merges]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]) + "\n", encoding="utf-8")
