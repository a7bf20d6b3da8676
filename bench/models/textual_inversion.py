"""Textual inversion: learned word vectors in a safetensors file, and text sides that know them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.errors import MissingError, UsageError
from bench.models.base import TextSide
from bench.models.loading import first_few, quiet, read_safetensors, short

_ONE = "emb_params"
_TWO = ("clip_l", "clip_g")


Make = Callable[[Mapping[str, Any], int | None], TextSide]
"""Makes a text side of a pipeline's parts, with the pipeline's clip_skip."""


def conditioned(side: TextSide, clip_skip: int | None, embeddings: Mapping[str, Path], make: Make) -> TextSide:
    """The side with these settings; itself without any. `embeddings` are files by token.

    Raises UsageError for a clip_skip beyond the encoder's layers, MissingError for a file that is no textual inversion
    for these encoders.
    """
    if clip_skip is None and not embeddings:
        return side
    _check_clip_skip(clip_skip, side)
    parts = dict(side.parts)
    if embeddings:
        for name in parts:
            if ("text_encoder" in name or "tokenizer" in name) and parts[name] is not None:
                parts[name] = copy.deepcopy(parts[name])  # other sides must not know the new words
    made = make(parts, clip_skip)
    made.adapter = side.adapter
    for token, path in embeddings.items():
        _learn(made, token, path)
    return made


def _check_clip_skip(clip_skip: int | None, side: TextSide) -> None:
    layers = [encoder.config.num_hidden_layers for encoder in side.encoders if "CLIP" in type(encoder).__name__]
    if clip_skip is not None and layers and clip_skip >= min(layers):
        raise UsageError(
            f"clip_skip = {clip_skip} leaves no layer of a text encoder of {min(layers)} layers: use a smaller value"
        )


def _learn(side: TextSide, token: str, path: Path) -> None:
    """Teach the side's encoders a word. Raises MissingError for a file that holds no textual inversion for them."""
    for vectors, (encoder, tokenizer) in _by_encoder(path, read_safetensors(path), side):
        try:
            with quiet():
                side.pipeline.load_textual_inversion(vectors, token=token, text_encoder=encoder, tokenizer=tokenizer)
        except (ValueError, RuntimeError) as error:
            raise MissingError(
                f"{path} cannot be taken as the textual inversion '{token}' ({short(error)}): its vectors have "
                f"{vectors.shape[-1]} values, and the text encoder takes {_width(encoder)}"
            ) from error


def _by_encoder(path: Path, tensors: Mapping[str, Tensor], side: TextSide) -> list[tuple[Tensor, tuple[Any, Any]]]:
    """Vectors [n, width] or [width] for each encoder and its tokenizer, from AUTOMATIC1111's or diffusers' layout."""
    pairs = list(zip(side.encoders, side.tokenizers, strict=True))
    if len(pairs) == 2 and set(tensors) == set(_TWO):
        return [(tensors[name], pair) for name, pair in zip(_TWO, pairs, strict=True)]
    if len(pairs) == 1 and (_ONE in tensors or len(tensors) == 1):
        return [(tensors[_ONE] if _ONE in tensors else next(iter(tensors.values())), pairs[0])]
    if len(pairs) == 2 and len(tensors) == 1:
        vectors = next(iter(tensors.values()))
        fitting = [pair for pair in pairs if _width(pair[0]) == vectors.shape[-1]]
        if len(fitting) == 1:
            return [(vectors, fitting[0])]
    wanted = "clip_l and clip_g" if len(pairs) == 2 else f"{_ONE}, or one tensor called by its token"
    raise MissingError(
        f"{path} contains {first_few(tensors)}, which is not a textual inversion of this model: expected {wanted}"
    )


def _width(encoder: Any) -> int:
    return int(encoder.get_input_embeddings().weight.shape[-1])
