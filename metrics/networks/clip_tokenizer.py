"""CLIP's tokenizer: that of a folder, or the standard one of 49,408 tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metrics.errors import MissingWeightsError
from metrics.networks.hf_folder import TOKENIZER_FILES

_OPENAI_VOCABULARY = 49408


def tokenizer_files(folder: Path) -> list[Path]:
    """The files that `load_tokenizer` reads: vocabulary and merges, else tokenizer.json and what it uses."""
    both = [folder / "vocab.json", folder / "merges.txt"]
    if all(path.is_file() for path in both):
        return both
    if not (folder / "tokenizer.json").is_file():
        return []
    return [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]


def load_tokenizer(folder: Path, vocabulary: int, what: str) -> Any:
    """The CLIP tokenizer of a folder; without files, the standard one of 49,408 tokens.

    The standard vocabulary is the one open_clip ships (the same merges, other names for the special tokens); the
    rules that split text are those of transformers' CLIPTokenizer, which PickScore used.
    """
    from transformers import CLIPTokenizer

    files = tokenizer_files(folder)
    try:
        if [path.name for path in files] == ["vocab.json", "merges.txt"]:
            return CLIPTokenizer(vocab=str(files[0]), merges=str(files[1]))
        if files:
            return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare exceptions
        raise MissingWeightsError(f"{what}: the tokenizer files in '{folder}' cannot be read ({error})") from error
    if vocabulary != _OPENAI_VOCABULARY:
        raise MissingWeightsError(
            f"{what}: folder '{folder}' has no vocab.json and merges.txt, and its vocabulary of {vocabulary} tokens is "
            "not CLIP's own: put the tokenizer files beside the weights"
        )
    return _standard_tokenizer()


def _standard_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    try:
        from open_clip.tokenizer import SimpleTokenizer
    except ModuleNotFoundError as error:
        raise MissingWeightsError(
            "CLIP's vocabulary is neither beside the weights nor in open_clip: run `pip install open_clip_torch`, or "
            "put vocab.json and merges.txt beside the weights"
        ) from error
    source = SimpleTokenizer()
    rename = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {rename.get(token, token): number for token, number in source.encoder.items()}
    merges = sorted(source.bpe_ranks, key=lambda pair: source.bpe_ranks[pair])
    return CLIPTokenizer(vocab=vocab, merges=[pair for pair in merges if len(pair) == 2])
