"""Reads files of weights and configurations, and tells in one sentence what is wrong with one."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def dtypes() -> dict[str, torch.dtype]:
    """The floating-point types by the names that suites give them."""
    import torch

    return {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def first_few(names: Iterable[str], shown: int = 3) -> str:
    """ "a, b, c and 5 more"."""
    listed = sorted(names)
    more = len(listed) - shown
    return ", ".join(listed[:shown]) + (f" and {more} more" if more > 0 else "")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' progress bars and advice off the user's screen; what matters is raised as an error."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    before = [(module, module.get_verbosity()) for module in (diffusers_logging, transformers_logging)]
    bars = transformers_logging.is_progress_bar_enabled()
    try:
        transformers_logging.disable_progress_bar()
        diffusers_logging.disable_progress_bar()
        for module, _ in before:
            module.set_verbosity_error()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for module, level in before:
            module.set_verbosity(level)
        diffusers_logging.enable_progress_bar()
        if bars:
            transformers_logging.enable_progress_bar()


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file; MissingError if it is absent or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(str(path)))
    except FileNotFoundError as error:
        raise MissingError(f"{path} is missing: download the checkpoint again") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise MissingError(
            f"{path} is damaged ({_what_instead(path) or short(error)}): download the file again"
        ) from error


def _what_instead(path: Path) -> str | None:
    """What was saved in a file's place: a pointer or a page; None if it is neither."""
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer in place of the file, which `git lfs pull` fetches"
    return "a web page in place of the file" if start.lower().startswith((b"<!doctype", b"<html")) else None


def read_header(path: Path) -> dict[str, str]:
    """The texts in a safetensors file's header (its metadata); empty if there are none."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as handle:
        return dict(handle.metadata() or {})


def load_tokenizer(tokenizer: type[Any], folder: Path) -> Any:
    """A tokenizer of transformers from its folder; MissingError if it is absent or damaged."""
    if not folder.is_dir():
        raise MissingError(f"{folder} is missing: {folder.parent} is not a complete diffusers folder")
    try:
        with quiet():
            return tokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # whatever the library raises, the folder is what is wrong
        raise MissingError(f"{folder} cannot be loaded as a {tokenizer.__name__} ({short(error)})") from error


def check_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """The part's configuration; MissingError if the folder or the file is absent or no JSON object."""
    path = folder / name
    if not path.is_file():
        raise MissingError(f"{path} is missing: {folder.parent} is not a complete diffusers folder")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise MissingError(f"{path} is damaged ({short(error)}): download the file again") from error
    if not isinstance(config, dict):
        raise MissingError(f"{path} is damaged (not a JSON object): download the file again")
    return config


def short(error: BaseException) -> str:
    """The first line of a message, without its full stop, at most 160 characters."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160].rstrip(". ")
