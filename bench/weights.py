"""Where weights are, from the way they are named, and the digest that says which ones they are.

A name is "shapes:NAME" (shipped with the embedded world), a local path, or a hub id
"owner/name[@revision][:subfolder]". A local path wins. Code of a repository is never fetched, and neither are
formats that execute it when loaded.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from bench.errors import MissingError, suggest
from bench.files import sha256_file

_SHAPES = Path(__file__).parent / "shapes" / "weights"
_HUB_ID = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?(?::(?P<folder>[\w./ -]+))?"
)
# Files that can change a pixel. Read-me files, previews and caches cannot.
_COUNTED = frozenset({".safetensors", ".json", ".txt", ".model", ".gz", ".bin", ".pt", ".pth"})
# Never fetched: code, pickles and other frameworks' formats, half-precision twins, single-file copies of a pipeline.
_NOT_FETCHED = (
    "*.py", "*.bin", "*.ckpt", "*.pt", "*.pth", "*.msgpack", "*.h5", "*.onnx", "*.onnx_data", "*.ot",
    "*.fp16.safetensors", "*.non_ema.safetensors", "v1-5-pruned*", "sd_xl_base_1.0*.safetensors",
)  # fmt: skip
_BLOB = re.compile(r"[0-9a-f]{64}")
_hashes: dict[tuple[str, int, int], str] = {}


def resolve(spec: str) -> Path:
    """The local file or folder that a weights name means; a hub id is fetched if it is not cached.

    Raises MissingError with one sentence that says how to get it.
    """
    if spec.startswith("shapes:"):
        return _shapes(spec.removeprefix("shapes:"))
    path = Path(spec).expanduser()
    if path.exists():
        return path
    match = _HUB_ID.fullmatch(spec)
    if match is None or path.suffix == ".safetensors" or path.is_absolute():
        raise MissingError(f"weights '{spec}' do not exist: give a local file or folder, or a hub id like owner/name")
    return _from_hub(spec, match["repo"], match["revision"], match["folder"])


def digest(path: Path | str) -> str:
    """sha256 (64 hex digits) over the names and contents of the weight, configuration and vocabulary files.

    A single file's own name does not count, and neither does the place of a folder. Raises MissingError when there is
    nothing to digest.
    """
    root = Path(path)
    if root.is_file():
        return _content(root)
    files = sorted(
        (file.relative_to(root).as_posix(), file)
        for file in root.rglob("*")
        if file.suffix in _COUNTED
        and file.is_file()
        and not any(p.startswith(".") for p in file.relative_to(root).parts)
    )
    if not files:
        raise MissingError(
            f"no weights in {root}: expected .safetensors files, as diffusers and transformers save them"
        )
    whole = hashlib.sha256()
    for name, file in files:
        whole.update(f"{name}\0{_content(file)}\n".encode())
    return whole.hexdigest()


def trained_on(spec: str) -> tuple[str, ...]:
    """The metrics that a checkpoint of `bench train` was trained on, from its training.json; () where none says so.

    Raises MissingError when the weights are not there.
    """
    try:
        facts = json.loads((resolve(spec) / "training.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no folder of ours
        return ()
    if not isinstance(facts, dict):
        return ()
    reward = facts.get("trained_on", facts.get("reward"))  # the first checkpoints name one reward only
    return (reward,) if isinstance(reward, str) else tuple(str(name) for name in reward or ())


def digest_of(spec: str) -> str:
    """The digest of the weights that a name means. Raises MissingError."""
    return digest(resolve(spec))


def _content(file: Path) -> str:
    # In the hub's cache a large file is a link to a blob that is named by its sha256: no need to read gigabytes.
    real = file.resolve()
    if file.is_symlink() and real.parent.name == "blobs" and _BLOB.fullmatch(real.name):
        return real.name
    facts = real.stat()
    key = (str(real), facts.st_size, facts.st_mtime_ns)
    if key not in _hashes:
        _hashes[key] = sha256_file(real)
    return _hashes[key]


def _shapes(name: str) -> Path:
    path = _SHAPES / name
    if name and path.exists() and _SHAPES in path.resolve().parents:
        return path
    there = sorted(entry.name for entry in _SHAPES.glob("[!.]*")) if _SHAPES.is_dir() else []
    hint = suggest(name, there)
    raise MissingError(
        f"the embedded weights 'shapes:{name}' are not in this installation.{hint} "
        "They are made by `make shapes` in a checkout, and shipped with a release."
    )


def _from_hub(spec: str, repo: str, revision: str | None, folder: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
    except ImportError:
        raise MissingError(
            f"weights '{spec}' are on the Hugging Face hub: `pip install huggingface_hub` to fetch them"
        ) from None
    wanted = [f"{folder}/*", f"{folder}"] if folder else None
    try:
        root = Path(
            snapshot_download(repo, revision=revision, allow_patterns=wanted, ignore_patterns=list(_NOT_FETCHED))
        )
    except RepositoryNotFoundError:
        raise MissingError(
            f"weights '{spec}': there is no path of that name here and no such public repository on the hub"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:160]
        at = f" --revision {revision}" if revision else ""
        raise MissingError(
            f"weights '{spec}' are not on this machine and could not be fetched ({reason}): "
            f"run `hf download {repo}{at}` where there is a network, or give a local folder"
        ) from None
    path = root / folder if folder else root
    if not path.exists():
        raise MissingError(
            f"weights '{spec}': the repository {repo} has no '{folder}' with files that are safe to load"
        )
    return path
