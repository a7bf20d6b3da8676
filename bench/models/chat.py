"""Prompts that a language model reads as a chat."""

from __future__ import annotations

from typing import Any


def template_tokens(tokenizer: Any, **options: Any) -> int:
    """How many tokens the chat template of a tokenizer puts around a prompt; `options` are the template's."""
    messages = [{"role": "user", "content": ""}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options)
    return len(tokenizer(text).input_ids)
