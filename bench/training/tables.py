"""Pictures with captions through the `datasets` library: its repositories, what it saved, parquet, WebDataset tars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import MissingError, UsageError
from bench.training.layouts import CAPTION_KEYS, seen

_IMAGE_KEYS = ("image", "jpg", "png", "jpeg", "webp", "img")


def needs_datasets(source: Path) -> str | None:
    """The kind of local source that the library reads ("saved", "parquet", "webdataset"), None for other ones."""
    if source.is_file():
        return {".parquet": "parquet", ".tar": "webdataset"}.get(source.suffix)
    if not source.is_dir():
        return None
    if (source / "dataset_dict.json").is_file() or (source / "dataset_info.json").is_file():
        return "saved"
    if (source / "metadata.parquet").is_file():
        return None
    kinds = [kind for kind, _ in [("parquet", ".parquet"), ("webdataset", ".tar")] if _shards(source, kind)]
    if len(kinds) > 1:
        raise UsageError(f"{source} has parquet files and tars ({seen(source)}): pass only one kind as --data")
    return kinds[0] if kinds else None


def open_rows(source: str) -> Any:
    """The training part of a repository "owner/name[:split]", or of a local source of `needs_datasets`.

    Raises MissingError (the package is not installed, nothing of that name, no such split).
    """
    try:
        import datasets
    except ImportError:
        what = "holds files whose reading" if Path(source).exists() else "is not a folder, and reading a repository"
        raise MissingError(f"--data {source} {what} needs the package datasets: run `pip install datasets`") from None
    name, _, split = source.partition(":")
    path = Path(name).expanduser()
    datasets.disable_progress_bars()
    try:
        kind = needs_datasets(path)
        if kind == "saved":
            rows: Any = datasets.load_from_disk(str(path))
            if isinstance(rows, datasets.DatasetDict):
                rows = rows[split or ("train" if "train" in rows else next(iter(rows)))]
        elif kind is not None:
            files = [str(path)] if path.is_file() else _shards(path, kind)
            rows = datasets.load_dataset(kind, data_files=files, split="train")
        else:
            rows = datasets.load_dataset(name, split=split or "train")
    except UsageError:
        raise
    except Exception as error:  # the library fails in many ways: no network, no such repository, no such split
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:160]
        raise MissingError(f"--data {source} is neither a folder nor a readable dataset ({reason})") from error
    return rows


def columns(rows: Any, source: str, wanted: str | None) -> tuple[str, str]:
    """(image column, caption column) of a dataset; a caption inside another column is "json.caption".

    Raises UsageError if there is none of a kind, or no row.
    """
    import datasets

    features = rows.features
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    images += [name for name in _IMAGE_KEYS if name in features and name not in images and _holds_bytes(features[name])]
    texts = [name for name in CAPTION_KEYS if name in features]
    if isinstance(features.get("json"), dict):  # WebDataset: a JSON file beside the picture
        texts += [f"json.{name}" for name in CAPTION_KEYS if name in features["json"]]
    if wanted is not None:
        outer, _, inner = wanted.partition(".")
        known = outer in features and (not inner or inner in (features[outer] or {}))
        texts = [wanted] if known else []
    if not images or not texts:
        looked = f"'{wanted}' (--caption-column)" if wanted else f"caption column ({', '.join(CAPTION_KEYS)})"
        hint = "" if wanted or not images else "; give --caption-column one of them"
        what = looked if images else "image column"
        raise UsageError(f"--data {source} has no {what}: its columns are {', '.join(features)}{hint}")
    if len(rows) == 0:
        raise UsageError(f"--data {source} has no rows")
    return images[0], texts[0]


class Captions(Sequence[Sequence[str]]):
    """The captions of a dataset's rows, read when asked for."""

    def __init__(self, rows: Any, name: str, source: str) -> None:
        self._outer, _, self._inner = name.partition(".")
        self._rows = rows.select_columns([self._outer])
        self._name, self._source = name, source

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Sequence[str]:
        value = self._rows[int(index)][self._outer]
        if self._inner:
            value = (value or {}).get(self._inner)
        texts = [value] if isinstance(value, str) else [text for text in value or () if isinstance(text, str)]
        kept = [text for text in texts if text.strip()]
        if not kept:
            raise UsageError(f"{self._source}: row {index} has no caption in column '{self._name}': remove it")
        return kept


def undecoded(rows: Any, column: str) -> Any:
    """The rows with their pictures as files: they are decoded by the one rule of `pictures.py`."""
    import datasets

    return rows.cast_column(column, datasets.Image(decode=False)).select_columns([column])


def _shards(folder: Path, kind: str) -> list[str]:
    """The files of a kind, the training part alone where names or folders say which it is."""
    ending = {"parquet": ".parquet", "webdataset": ".tar"}[kind]
    files = sorted(path for path in folder.rglob(f"*{ending}") if not path.name.startswith("."))
    training = [path for path in files if path.name.startswith("train") or "train" in path.relative_to(folder).parts]
    return [str(path) for path in training or files]


def _holds_bytes(feature: Any) -> bool:
    """Whether a column holds files of pictures though nobody said so: bytes, or bytes with their path."""
    if isinstance(feature, dict):
        return "bytes" in feature
    return str(getattr(feature, "dtype", "")) in ("binary", "large_binary")
