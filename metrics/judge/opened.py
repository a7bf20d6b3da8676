"""The judges that are open in this process: metrics of the same weights, device and dtype share one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from metrics.base.metric import pick_device
from metrics.errors import MetricError
from metrics.judge.judge import Judge
from metrics.judge.local import open_folder
from metrics.networks.hf_folder import MODEL_FILES, TOKENIZER_FILES, folder_of, weight_files
from metrics.types import Facts, Request

DTYPES = ("file", "float32", "bfloat16")
_BESIDE = ("preprocessor_config.json", "generation_config.json", "chat_template.jinja", "chat_template.json")
_connect: list[Callable[[Mapping[str, Any]], Judge]] = []
_open: WeakValueDictionary[tuple[object, ...], Judge] = WeakValueDictionary()


def open_judge(facts: Facts, request: Request) -> Judge:
    """The judge of a metric: one that is open already, or loaded now. MissingWeightsError, or MetricError."""
    if request.options.get("url") is not None:
        return _open_served(facts, request)
    for alone in ("model", "api_key_env"):
        if request.options.get(alone) is not None:
            raise MetricError(f"{facts.name}: {alone} belongs to a judge at a url: give the url too, or omit it")
    dtype = str(request.options.get("backbone_dtype", "file"))
    if dtype not in DTYPES:
        raise MetricError(f"{facts.name}: backbone_dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    if request.dtype != "float32":
        raise MetricError(f"{facts.name}: its precision is chosen by the option backbone_dtype: omit dtype")
    device = pick_device(request.device)
    folder = folder_of(facts, request, (*MODEL_FILES, *TOKENIZER_FILES, *_BESIDE))
    files = _files(folder, facts.title)
    state = tuple((path.stat().st_mtime_ns, path.stat().st_size) for path in files.values())
    key = (folder.resolve(), str(device), dtype, state)
    judge = _open.get(key)
    if judge is None:
        judge = _open[key] = open_folder(folder, files, dtype, device, facts.title)
    return judge


def connect_by(connect: Callable[[Mapping[str, Any]], Judge]) -> None:
    """How a judge at a url is reached from now on: by a function of a metric's options."""
    _connect[:] = [connect]


def _open_served(facts: Facts, request: Request) -> Judge:
    options = request.options
    if request.weights is not None or options.get("backbone_dtype", "file") != "file":
        raise MetricError(
            f"{facts.name}: a judge at a url takes neither weights nor backbone_dtype: they are the server's"
        )
    if request.dtype != "float32" or request.tf32:
        raise MetricError(f"{facts.name}: the precision of a judge at a url is the server's: omit dtype and tf32")
    if not _connect:
        raise MetricError(
            f"{facts.name}: a judge at a url is asked by the commands of bench alone: give weights instead"
        )
    key = tuple(str(options.get(name)) for name in ("url", "model", "api_key_env"))
    judge = _open.get(key)
    if judge is None:
        judge = _open[key] = _connect[0](options)
    return judge


def _files(folder: Path, what: str) -> dict[str, Path]:
    """Everything of a folder that decides an answer, by name."""
    others = [folder / name for name in (*_BESIDE, *TOKENIZER_FILES)]
    return {path.name: path for path in [*weight_files(folder, what), *others] if path.is_file()}
