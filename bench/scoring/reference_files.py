"""The files behind a suite's reference: a folder with its subfolders, a zip, a `datasets` folder or repository.

What they are is told by their content and their names; which of them may be used is decided here, by name.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError, UsageError
from bench.formatting import counted, one_line
from bench.runtime.log import ONCE, get_logger
from bench.store.atomic import read_bytes
from bench.store.images import has_orientation
from metrics.weights.state_dict import sha256

if TYPE_CHECKING:
    from bench.suite.schema import Reference

logger = get_logger(__name__)

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".avif", ".tif", ".tiff", ".gif", ".ppm"})
_OTHER_IMAGES = frozenset({".heic", ".heif", ".jxl", ".svg", ".psd", ".raw", ".dng", ".exr", ".hdr", ".mp4", ".webm"})
DATASETS = "datasets:"
"""How the path of a repository of the `datasets` library begins, or of a folder that it loads."""
_SAVED = ("state.json", "dataset_dict.json")
_facts: dict[tuple[Any, ...], dict[str, tuple[str, bool]]] = {}


@dataclass(frozen=True, slots=True)
class Files:
    """Image files by name, how the bytes of one are read, and what tells this state of them from a later one."""

    where: str
    names: tuple[str, ...]
    read: Callable[[str], bytes]
    state: tuple[Any, ...]

    def facts(self) -> dict[str, tuple[str, bool]]:
        """Name -> sha256 of the file, and whether it has an EXIF orientation; remembered while the state lasts."""
        if self.state not in _facts:
            found = {}
            for name in self.names:
                data = self.read(name)
                found[name] = hashlib.sha256(data).hexdigest(), has_orientation(data)
            _facts[self.state] = found
        return _facts[self.state]


def is_statistics(reference: Reference) -> bool:
    """Whether the reference is a file of statistics (.npz) and not images."""
    return reference.kind == "folder" and Path(str(reference.path)).suffix.lower() == ".npz"


def files_of(reference: Reference) -> Files:
    """The image files of a reference that is not drawn. Raises MissingError (absent) or UsageError (unusable)."""
    path = str(reference.path)
    where = Path(path).expanduser()
    if path.startswith(DATASETS) or any((where / name).is_file() for name in _SAVED):
        found = _dataset(reference, path.removeprefix(DATASETS), path.startswith(DATASETS))
    elif where.is_dir():
        found = _folder(where)
    elif where.is_file() and zipfile.is_zipfile(where):
        found = _zip(where)
    elif where.is_file():
        raise UsageError(
            f"the reference {where} is neither a folder of images, nor a .zip of them, nor .npz statistics"
        )
    else:
        raise MissingError(f"the reference folder {where} does not exist: correct reference.path in the suite")
    if len(found.names) < 2:
        what = counted(len(found.names), "image").replace("0 images", "no images")
        raise MissingError(f"the reference folder {where} contains {what}: at least 2 are needed")
    return found


def _folder(folder: Path) -> Files:
    inside = folder.resolve()
    names: list[str] = []
    other: list[str] = []
    for root, folders, files in os.walk(folder):
        here = Path(root)
        for name in [*folders, *files]:
            path = here / name
            if path.is_symlink() and not path.resolve().is_relative_to(inside) and (name in folders or _is_image(name)):
                raise UsageError(f"{path} is a symbolic link that leaves the reference folder: copy what it points to")
        for name in files:
            (names if _is_image(name) else other).append((here / name).relative_to(folder).as_posix())
    _tell_other(str(folder), other)
    if strange := next((name for name in names if not (folder / name).is_file()), None):
        raise MissingError(f"{folder / strange} in the reference folder is not a regular file: remove it")
    names.sort(key=lambda name: (name.count("/") > 0, name))
    state = ("folder", str(inside), tuple((name, *_status(folder / name)) for name in names))
    found = Files(str(folder), tuple(names), lambda name: _read(folder / name), state)
    if state not in _facts:  # digests of files are remembered for each file
        _facts[state] = {name: (sha256(folder / name), has_orientation(folder / name)) for name in names}
    return found


def _status(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise MissingError(f"reference image {path} cannot be used ({error.strerror}): replace it") from None


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in ENDINGS and not path.name.startswith("._")


def _tell_other(where: str, names: Sequence[str]) -> None:
    """Say which files are no reference images; formats of images that are not read are refused by name."""
    for name in names:
        if PurePosixPath(name).suffix.lower() in _OTHER_IMAGES and not PurePosixPath(name).name.startswith("._"):
            raise UsageError(f"{where}/{name}: this format is not read: save the reference images as PNG or JPEG")
    if names:
        shown = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
        said = f"{where}: {counted(len(names), 'file')} that are no images are not used ({shown})"
        logger.warning(one_line(said), extra=ONCE)


def _zip(path: Path) -> Files:
    try:
        with zipfile.ZipFile(path) as opened:
            inside = [info for info in opened.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise UsageError(f"the reference {path} cannot be read as a zip ({error})") from None
    if any(info.flag_bits & 1 for info in inside):
        raise UsageError(f"the reference {path} is an encrypted zip: unpack it, and name the folder")
    names = [info.filename for info in inside if _is_image(info.filename) and "__MACOSX" not in info.filename]
    _tell_other(str(path), [info.filename for info in inside if info.filename not in names])

    def read(name: str) -> bytes:
        try:
            with zipfile.ZipFile(path) as opened:
                return opened.read(name)
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, KeyError) as error:
            raise MissingError(f"reference image {path}/{name} cannot be used ({error}): replace it") from None

    return Files(str(path), tuple(sorted(names)), read, ("zip", str(path.resolve()), *_status(path)))


def _dataset(reference: Reference, name: str, by_name: bool) -> Files:
    """The images of a dataset, in its order: one that was saved to a folder, or one that is loaded by its name."""
    try:
        import datasets
    except ImportError:
        raise MissingError(
            "reference images of `datasets` need the package datasets: pip install 'imagerefl-bench[data]'"
        ) from None
    folder = Path(name).expanduser()
    saved = any((folder / one).is_file() for one in _SAVED)
    try:
        loaded = datasets.load_from_disk(str(folder)) if saved else datasets.load_dataset(str(name))
    except Exception as error:  # a library of many sources, each with errors of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise MissingError(f"the reference dataset {name} cannot be loaded ({reason})") from None
    rows = _split(loaded, reference, name)
    column = _column(rows, reference, name, datasets.Image)
    rows = rows.cast_column(column, datasets.Image(decode=False))

    def read(index: str) -> bytes:
        held = rows[int(index)][column] or {}
        data = held.get("bytes") or (_read(Path(held["path"])) if held.get("path") else b"")
        return bytes(data)

    names = tuple(f"{index:08d}" for index in range(len(rows)))
    return Files(name, names, read, ("dataset", name, str(rows._fingerprint), column))


def _split(loaded: Any, reference: Reference, name: str) -> Any:
    if not hasattr(loaded, "keys"):
        return loaded
    splits = list(loaded.keys())
    if reference.split is not None and reference.split not in splits:
        raise UsageError(f"the reference dataset {name} has no split '{reference.split}': it has {', '.join(splits)}")
    if reference.split is None and len(splits) > 1:
        raise UsageError(f"the reference dataset {name} has the splits {', '.join(splits)}: name one, reference.split")
    return loaded[reference.split or splits[0]]


def _column(rows: Any, reference: Reference, name: str, image: type[Any]) -> str:
    columns = [column for column, feature in rows.features.items() if isinstance(feature, image)]
    if reference.column is not None and reference.column not in columns:
        raise UsageError(f"the reference dataset {name} has no images in column '{reference.column}'")
    if reference.column is None and len(columns) != 1:
        found = ", ".join(columns) or f"none; its columns: {', '.join(rows.features)}"
        raise UsageError(
            f"the reference dataset {name} has several or no columns of images ({found}): name reference.column"
        )
    return reference.column or columns[0]


def content_of(files: Files) -> dict[str, Any]:
    """What tells a reference: how many files, their contents, and how many are turned upright.

    `images` is of the contents alone. `content` is with the files' names, which earlier versions knew a reference by:
    values that were stored then are compared by it.
    """
    from metrics.types import digest_of

    facts = files.facts()
    turned = sum(is_turned for _, is_turned in facts.values())
    content = digest_of(files={name: digest for name, (digest, _) in facts.items()})
    images = digest_of(images=sorted(digest for digest, _ in facts.values()))
    told = {"kind": "folder", "files": len(facts), "content": content, "images": images}
    return told | ({"upright": turned} if turned else {})
