"""One small byte-pair vocabulary for all CLIP-like text encoders of the world, and a WordPiece one for BLIP.

Every word of the grammar is one token; any other text falls back to its bytes.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer

from bench.shapes.captions import WORDS

MAX_LENGTH = 24
"""Tokens a text encoder of the world sees; the longest caption of the grammar has 14."""


def merges() -> list[tuple[str, str]]:
    """Learn byte-pair merges until each word of the grammar is a single token."""
    words = [[*word[:-1], word[-1] + "</w>"] for word in WORDS]
    learned: list[tuple[str, str]] = []
    while any(len(word) > 1 for word in words):
        pairs = Counter(pair for word in words for pair in pairwise(word))
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        learned.append(best)
        words = [_merge(word, best) for word in words]
    return learned


def _merge(word: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for symbol in word:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return out


def byte_alphabet() -> list[str]:
    """The 256 printable stand-ins for bytes, in the order that CLIP vocabularies number them."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + index) for index in range(len(others))]


def write_clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write vocab.json, merges.txt and the configuration of a `CLIPTokenizer`; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = byte_alphabet()
    learned = merges()
    tokens = [*alphabet, *(symbol + "</w>" for symbol in alphabet), *("".join(pair) for pair in learned)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in learned)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=MAX_LENGTH, pad_token="<|endoftext|>")
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_open_clip_merges(folder: Path) -> Path:
    """Write the same merges as the gzipped file that open_clip's tokenizer reads."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bpe_simple_vocab.txt.gz"
    # No newline at the end: open_clip takes an empty last line for one more merge.
    text = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges())])
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path


def write_bert_vocabulary(folder: Path) -> Path:
    """Write a vocab.txt for BERT's WordPiece: special tokens, the words, and letters as pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *characters, *(f"##{c}" for c in characters)]
    path = folder / "vocab.txt"
    path.write_text("\n".join(dict.fromkeys(pieces)) + "\n")
    return path
