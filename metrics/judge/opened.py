"""The judges that are open in this process: metrics of the same weights, device and dtype share one."""

from __future__ import annotations

from pathlib import Path
from weakref import WeakValueDictionary

from metrics.base.metric import pick_device
from metrics.errors import MetricError
from metrics.judge.judge import Judge
from metrics.judge.local import open_folder
from metrics.networks.hf_folder import MODEL_FILES, TOKENIZER_FILES, folder_of, weight_files
from metrics.types import Facts, Request

DTYPES = ("file", "float32", "bfloat16")
_BESIDE = ("preprocessor_config.json", "generation_config.json", "chat_template.jinja", "chat_template.json")
_open: WeakValueDictionary[tuple[object, ...], Judge] = WeakValueDictionary()


def open_judge(facts: Facts, request: Request) -> Judge:
    """The judge of a metric: one that is open already, or loaded now. MissingWeightsError, or MetricError."""
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


def _files(folder: Path, what: str) -> dict[str, Path]:
    """Everything of a folder that decides an answer, by name."""
    others = [folder / name for name in (*_BESIDE, *TOKENIZER_FILES)]
    return {path.name: path for path in [*weight_files(folder, what), *others] if path.is_file()}
