"""How people keep pictures with captions in a folder: which files there are, and which captions belong to them."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.runtime.log import ONCE, get_logger

logger = get_logger(__name__)

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
CAPTION_KEYS = ("text", "caption", "captions", "prompt", "sentences", "txt")
FILE_KEYS = ("file_name", "filename", "image", "image_path", "file_path", "path", "file")
TABLES = ("metadata.jsonl", "metadata.csv", "metadata.parquet", "metadata.json")
"""Tables of pictures and captions, as `datasets` reads them from a folder; the last one is a JSON list of rows."""
_BESIDE = (".txt", ".caption")
_OTHER_SPLITS = ("test", "val", "valid", "validation", "dev")
_MOST_FILES = 10_000

Found = dict[Path, list[str]]


def find_pictures(source: Path, column: str | None = None) -> Found:
    """Pictures with their captions, of a folder or of the one file that lists them, in a fixed order.

    `column` names the column of the captions where there is a table. Raises UsageError that says what was seen.
    """
    if source.is_file():
        return _from_table(source, column)
    folder = _training_part(source)
    table = _table_of(folder)
    if table is not None:
        return _from_table(table, column)
    if column is not None:
        raise UsageError(f"{folder} has no table with a column '{column}' ({', '.join(TABLES)}): it has {seen(folder)}")
    return _from_files_beside(folder)


def is_coco(path: Path) -> bool:
    """Whether a JSON file is in COCO's form, by its name: reading it takes seconds."""
    return path.suffix == ".json" and path.name.startswith("captions_")


def seen(folder: Path) -> str:
    """ "4 .png, 1 .json": what a folder holds, for the messages."""
    kinds: Counter[str] = Counter()
    for number, path in enumerate(_files(folder)):
        if number == _MOST_FILES:
            break
        kinds[path.suffix.lower() or path.name] += 1
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) or "no files"


def _training_part(folder: Path) -> Path:
    """`folder/train` where the folder is split into parts, as `datasets` understands them."""
    part = folder / "train"
    if not part.is_dir() or _table_of(folder, below=False) is not None:
        return folder
    others = [name for name in _OTHER_SPLITS if (folder / name).is_dir()]
    if others:
        logger.warning(f"{folder} is split into parts: training on train only, not on {', '.join(others)}", extra=ONCE)
        return part
    return folder


def _table_of(folder: Path, below: bool = True) -> Path | None:
    """The table of a folder, of `annotations/` in it (COCO), or of its only folder that has one."""
    for name in TABLES:
        if (folder / name).is_file():
            return folder / name
    coco = [path for index in (folder / "annotations", folder) for path in sorted(index.glob("captions_*.json"))]
    if coco:
        return next((path for path in coco if "train" in path.name), coco[0])
    if not below:
        return None
    inner = [path for child in sorted(folder.iterdir()) if child.is_dir() for path in [_table_of(child, False)] if path]
    if len(inner) > 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in inner[:4])
        raise UsageError(f"{folder} has several tables of images ({names}): pass one of their folders as --data")
    return inner[0] if inner else None


def _from_table(path: Path, column: str | None) -> Found:
    if is_coco(path):
        return _from_coco(path)
    folder, found = path.parent, Found()
    for number, row in _rows(path):
        where = f"{path}: line {number}" if path.suffix == ".jsonl" else f"{path}: row {number}"
        if not isinstance(row, Mapping):
            raise UsageError(f'{where} must be {{"file_name": ..., "text": ...}} with a caption in it')
        name = next((row[key] for key in FILE_KEYS if isinstance(row.get(key), str)), None)
        if name is None:
            raise UsageError(
                f'{where} must be {{"file_name": ..., "text": ...}} with a caption in it: it names no picture '
                f"({', '.join(map(str, row)) or 'nothing'})"
            )
        texts = _captions(row, column, where)
        file = _file_of(folder, name)
        if file is None:
            raise UsageError(f"{where} names {name}, which is not in {folder}")
        found.setdefault(file, []).extend(texts)  # a line a caption is as good as a list of them
    if not found:
        raise UsageError(f"{path} lists no images")
    return found


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """(number from 1, row) of a table. A byte order mark in front, as Windows writes it, is skipped."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            yield from enumerate(pq.read_table(path).to_pylist(), 1)
        except (pa.ArrowException, OSError) as error:
            raise UsageError(f"{path} cannot be read as parquet ({error}): repair or remove it") from error
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as UTF-8 text ({error}): save it as UTF-8") from error
    if path.suffix == ".csv":
        yield from enumerate(csv.DictReader(io.StringIO(text, newline="")), 1)
        return
    if path.suffix == ".json":
        yield from enumerate(_json_rows(path, text), 1)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError):
                yield number, None


def _json_rows(path: Path, text: str) -> list[Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid JSON ({type(error).__name__}): repair or remove it") from error
    if not isinstance(data, list):
        raise UsageError(f'{path} must be a list of {{"file_name": ..., "text": ...}}, or COCO\'s captions_NAME.json')
    return data


def _captions(row: Mapping[str, Any], column: str | None, where: str) -> list[str]:
    if column is not None and column not in row:
        raise UsageError(f"{where} has no column '{column}' (--caption-column): it has {', '.join(map(str, row))}")
    value = row[column] if column is not None else next((row[key] for key in CAPTION_KEYS if row.get(key)), None)
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    kept = [text.strip() for text in texts if isinstance(text, str) and text.strip()]
    if not kept:
        rest = [str(key) for key in row if key not in (*FILE_KEYS, *CAPTION_KEYS)]
        hint = f"; give --caption-column one of {', '.join(rest)}" if rest and column is None else ""
        raise UsageError(f'{where} must be {{"file_name": ..., "text": ...}} with a caption{hint}')
    return kept


def _file_of(folder: Path, name: str) -> Path | None:
    """The named file, with the other system's separators if need be; None if it is not there."""
    for one in (name, name.replace("\\", "/")):
        if (folder / one).is_file():
            return folder / one
    return None


def _from_coco(path: Path) -> Found:
    """COCO's captions: `images` with ids and file names, `annotations` with image ids and captions."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        names = {image["id"]: str(image["file_name"]) for image in data["images"]}
        texts: dict[Any, list[str]] = {}
        for annotation in data["annotations"]:
            texts.setdefault(annotation["image_id"], []).append(str(annotation["caption"]).strip())
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is not COCO's form of captions ({error!r}): repair or remove it") from error
    root = path.parent.parent if path.parent.name == "annotations" else path.parent
    part = path.stem.removeprefix("captions_")
    folders = [root / part, root / "images" / part, root / "images", root]
    found = Found()
    for number in sorted(texts, key=str):
        name = names.get(number)
        file = next((folder / name for folder in folders if name and (folder / name).is_file()), None)
        if file is None:
            shown = ", ".join(folder.relative_to(root).as_posix() for folder in folders)
            raise UsageError(f"{path} names {name or number}, which is in none of {shown} of {root}")
        found.setdefault(file, []).extend(texts[number])
    if without := len(names.keys() - texts.keys()):
        logger.warning(f"{path}: {without} images have no caption and are skipped", extra=ONCE)
    if not found:
        raise UsageError(f"{path} lists no images")
    return found


def _from_files_beside(folder: Path) -> Found:
    """NAME.txt or NAME.caption beside NAME.png: a caption a line."""
    images = sorted(path for path in _files(folder) if path.suffix.lower() in IMAGE_ENDINGS)
    if not images:
        raise UsageError(
            f"{folder} contains no images ({', '.join(IMAGE_ENDINGS)}) but {seen(folder)}: pass another folder as "
            "--data"
        )
    found, without = Found(), []
    for path in images:
        texts = [text for ending in _BESIDE for text in _lines(path.with_suffix(ending))]
        if texts:
            found[path] = texts
        else:
            without.append(path.name)
    if without:
        more = f" and {len(without) - 3} more" if len(without) > 3 else ""
        raise UsageError(
            f"{folder}: {', '.join(without[:3])}{more} have no caption (there are {seen(folder)}): put one into a .txt "
            f'file of the same name, or write {TABLES[0]} with a line {{"file_name": ..., "text": ...}} for each image'
        )
    return found


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except ValueError as error:
        raise UsageError(f"{path} cannot be read as UTF-8 text ({error}): save it as UTF-8") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _files(folder: Path) -> Iterator[Path]:
    """All files below, without hidden ones: macOS puts `._a.png` beside `a.png`."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith(".") and "__MACOSX" not in path.parts:
            yield path
