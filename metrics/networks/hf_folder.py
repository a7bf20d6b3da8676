"""Strict loading of transformers model folders (config.json and weights) from a local path or the hub."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metrics.errors import MissingWeightsError, first_line
from metrics.types import Facts, Request
from metrics.weights.hub import locate
from metrics.weights.pins import pinned
from metrics.weights.state_dict import check_keys, find_file, read_json

MODEL_FILES = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


def folder_of(facts: Facts, request: Request, patterns: Sequence[str] = MODEL_FILES) -> Path:
    """The model folder asked for (or the published one); a file inside it is taken as the folder."""
    spec = request.weights or pinned(facts.weights or "")
    path = locate(spec, patterns)
    folder = path.parent if path.is_file() else path
    if not any((folder / name).is_file() for name in _WEIGHTS) and not Path(spec).exists():
        folder = locate(spec, (*patterns, "pytorch_model.bin"))  # a repository without safetensors
    return folder


def weight_files(folder: Path, what: str) -> list[Path]:
    """config.json and the weight file or shards, for the digest; MissingWeightsError if there are none."""
    config = find_file(folder, ("config.json",), what)
    first = find_file(folder, _WEIGHTS, what)
    shards = sorted(folder.glob("model-*.safetensors")) if first.suffix == ".json" else []
    return [config, first, *shards]


@contextmanager
def quiet() -> Iterator[None]:
    """No load report and no progress bar: what is wrong with the keys is said by our own error."""
    from transformers.utils import logging as hf_logging

    before, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity(logging.CRITICAL)
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(before)
        if bars:
            hf_logging.enable_progress_bar()


def load_processor(processor_class: Any, folder: Path, what: str) -> Any:
    """`processor_class.from_pretrained(folder)`; MissingWeightsError where preprocessor_config.json is none of it."""
    file = folder / "preprocessor_config.json"
    try:
        with quiet():
            return processor_class.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # transformers checks the values in many ways
        raise MissingWeightsError(f"{what}: '{file}' cannot be read ({first_line(error)})") from error


def load_folder(model_class: Any, folder: Path, what: str, drop: Sequence[str] = (), **settings: Any) -> Any:
    """`model_class.from_pretrained(folder)`, frozen, in eval mode, with no key missing or left over.

    In float32, unless `settings` name another dtype.

    `drop`: regular expressions of checkpoint keys ignored on purpose. MissingWeightsError otherwise.
    """
    weight_files(folder, what)
    read_json(folder / "config.json", what)
    import torch

    try:
        with quiet():
            model, report = model_class.from_pretrained(
                str(folder),
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **{"dtype": torch.float32, **settings},
            )
    except Exception as error:  # damaged files fail in many ways
        reason = first_line(error)
        raise MissingWeightsError(
            f"{what}: the weights in '{folder}' cannot be read ({type(error).__name__}: {reason}): they are damaged; "
            "download them again"
        ) from error
    ignored = [re.compile(pattern) for pattern in drop]
    extra = [key for key in report["unexpected_keys"] if not any(p.fullmatch(key) for p in ignored)]
    missing = [key for key in report["missing_keys"] if not any(p.fullmatch(key) for p in ignored)]
    wrong = [str(item[0] if isinstance(item, tuple) else item) for item in report["mismatched_keys"]]
    check_keys(sorted(missing), sorted(extra), f"{what}: '{folder}'")
    if wrong:
        raise MissingWeightsError(
            f"{what}: '{folder}' has {len(wrong)} tensors whose shape disagrees with config.json, first '{wrong[0]}': "
            "the two files do not belong together"
        )
    return model.requires_grad_(False).eval()
