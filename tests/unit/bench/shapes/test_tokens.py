"""The world's vocabularies: each word of the grammar is one token, for all three kinds of tokenizer."""

from __future__ import annotations

from pathlib import Path

from open_clip.tokenizer import SimpleTokenizer
from transformers import BertTokenizer

from bench.shapes.build.tokens import MAX_LENGTH, write_bert_vocabulary, write_clip_tokenizer, write_open_clip_merges
from bench.shapes.captions import WORDS, caption

LONGEST = caption(
    {"shape": "triangle", "colour": "purple", "size": "large", "position": "centre", "background": "gradient"}
)


def test_clip_tokenizer(tmp_path: Path) -> None:
    tokenizer = write_clip_tokenizer(tmp_path)
    for word in WORDS:
        assert len(tokenizer(word).input_ids) == 3, word
    assert len(tokenizer(LONGEST).input_ids) <= 14
    assert tokenizer("zebra crossing").input_ids, "other text falls back to bytes"
    assert tokenizer.eos_token_id == len(tokenizer) - 1


def test_open_clip_tokenizer_agrees(tmp_path: Path) -> None:
    clip = write_clip_tokenizer(tmp_path)
    tokenizer = SimpleTokenizer(bpe_path=str(write_open_clip_merges(tmp_path)), context_length=MAX_LENGTH)
    assert tokenizer.vocab_size == len(clip)
    ids = clip(LONGEST).input_ids
    assert tokenizer([LONGEST])[0, : len(ids)].tolist() == ids


def test_bert_tokenizer(tmp_path: Path) -> None:
    write_bert_vocabulary(tmp_path)
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    for word in WORDS:
        assert len(tokenizer(word).input_ids) == 3, word
    assert tokenizer("zebra").input_ids[0] == tokenizer.cls_token_id
