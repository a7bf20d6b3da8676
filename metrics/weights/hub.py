"""Finding weights: a local path, or a file or folder of the Hugging Face hub (from its cache, else downloaded).

A name of the hub is "owner/name[@revision][:file or folder]". What is in the cache is used as it is, without asking the
hub: `hf download` brings a newer one. A file is put in the cache only when all of it is there; those that arrive are
compared with the digest by which the hub names them. An interrupted download keeps the files that are finished.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from metrics.errors import MissingWeightsError
from metrics.weights.hub_errors import is_connection, reason_and_advice
from metrics.weights.hub_name import HubName, parse
from metrics.weights.state_dict import sha256

logger = logging.getLogger(__name__)

_told_of: set[str] = set()
_SNAPSHOT = re.compile(r"/models--[^/]+/snapshots/([0-9a-f]{40})(?:/|$)")
_BLOB = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")


def locate(spec: str, patterns: Sequence[str] = ()) -> Path:
    """The local path of `spec`: a local path, or a hub id "owner/name[@revision][:file]" that is fetched.

    `patterns` limits what is fetched of a whole repository. MissingWeightsError names the command that mends it.
    """
    path = Path(spec).expanduser()
    if path.exists():
        return path
    name = parse(spec)
    if name is None:
        raise MissingWeightsError(
            f"weights '{spec}' do not exist: give the path of a file or folder, or a hub id such as owner/name"
        )
    return fetch_file(name) if name.inner else fetch_folder(name, patterns)


def cached(spec: str) -> Path | None:
    """Where a local path, a hub id or the address of a release file is on this machine; nothing is fetched."""
    path = Path(spec).expanduser()
    if path.exists():
        return path
    if spec.startswith(("http://", "https://")):
        path = release_path(spec)
        return path if path.is_file() else None
    name = parse(spec)
    if name is None:
        return None
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    try:
        if name.inner:
            found = try_to_load_from_cache(name.repo, name.inner, revision=name.revision)
            return Path(found) if isinstance(found, str) else None
        return Path(snapshot_download(name.repo, revision=name.revision, local_files_only=True))
    except Exception:  # the client has several errors for what is not there
        return None


def commit_of(path: Path) -> str | None:
    """The commit of the hub's snapshot that a path lies in; None for a path elsewhere."""
    found = _SNAPSHOT.search(path.absolute().as_posix())
    return found[1] if found else None


def fetch_file(name: HubName) -> Path:
    """The local path of one file (`name.inner`) of a repository: cached, else fetched. Raises MissingWeightsError."""

    def get(local: bool) -> Path:
        from huggingface_hub import hf_hub_download

        kind = "dataset" if name.dataset else "model"
        return Path(
            hf_hub_download(name.repo, str(name.inner), revision=name.revision, repo_type=kind, local_files_only=local)
        )

    return _fetch(name, get, lambda path: True)


def fetch_folder(name: HubName, allow: Sequence[str] = (), ignore: Sequence[str] = ()) -> Path:
    """The local copy of a repository, of which only files that match `allow` and not `ignore` are fetched.

    Patterns are those of fnmatch, in which * crosses folders. Raises MissingWeightsError.
    """

    def get(local: bool) -> Path:
        from huggingface_hub import snapshot_download

        return Path(
            snapshot_download(
                name.repo,
                revision=name.revision,
                allow_patterns=list(allow) or None,
                ignore_patterns=list(ignore) or None,
                local_files_only=local,
            )
        )

    return _fetch(name, get, lambda path: _listing_known(name) or _is_model(path))


def listing(name: HubName) -> list[str]:
    """All file names of a repository as the hub listed them when something of it was fetched; [] when unknown."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return [entry.path for entry in get_cached_repo_tree(name.repo, revision=name.revision)]
    except CachedRepoTreeNotFoundError:
        return []


def _fetch(name: HubName, get: Callable[[bool], Path], whole: Callable[[Path], bool]) -> Path:
    """What `get(local)` finds: in the cache if that is `whole`, else from the hub."""
    try:
        import huggingface_hub  # noqa: F401 - only whether it is there
    except ModuleNotFoundError as error:
        raise MissingWeightsError(
            f"fetching {name.repo} needs the package 'huggingface_hub': run `pip install huggingface_hub`"
        ) from error
    here: Path | None = None
    with contextlib.suppress(Exception):  # not in the cache (the client has several errors for it)
        here = get(True)
    if here is not None and whole(here):
        return here
    before = _blobs(name)
    try:
        _check_reachable()
        with _told(name):
            path = get(False)
    except Exception as error:  # the client raises errors of four libraries; each means: could not be fetched
        if here is not None and any(here.rglob("*.safetensors")) and is_connection(error):
            return here  # put there by an older client, which kept no listing to tell whether it is whole
        reason, advice = reason_and_advice(error, name)
        raise MissingWeightsError(
            f"weights '{name}' are not on this machine and could not be fetched, because {reason}: {advice}"
        ) from error
    _verify(name, path, before)
    return path


def _listing_known(name: HubName) -> bool:
    # With its listing the client itself notices what is missing of a folder.
    return bool(listing(name))


def _is_model(folder: Path) -> bool:
    """Whether a cached folder is whole enough: an interrupted download leaves the configuration alone."""
    return (folder / "config.json").is_file() and any(folder.glob(ending) for ending in ("*.safetensors", "*.bin"))


def _check_reachable() -> None:
    """Raise OSError at once where the hub's name cannot be resolved: its client would retry for half a minute."""
    from huggingface_hub import constants

    if not constants.is_offline_mode() and not urllib.request.getproxies():  # a proxy resolves names itself
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)


@contextlib.contextmanager
def _told(name: HubName) -> Iterator[None]:
    """The client's progress bars on a terminal, one line elsewhere, and its advice nowhere: errors are told by us."""
    from huggingface_hub.utils import logging as hub_logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    verbosity, bars = hub_logging.get_verbosity(), not are_progress_bars_disabled()
    hub_logging.set_verbosity(logging.ERROR)
    if not sys.stderr.isatty():
        disable_progress_bars()
        if name.repo not in _told_of:
            _told_of.add(name.repo)
            logger.info(f"fetching {name} from the hub")
    try:
        yield
    finally:
        hub_logging.set_verbosity(verbosity)
        if bars:
            enable_progress_bars()


def _storage(name: HubName) -> Path:
    from huggingface_hub import constants

    kind = "datasets" if name.dataset else "models"
    return Path(constants.HF_HUB_CACHE) / "--".join([kind, *name.repo.split("/")])


def _blobs(name: HubName) -> frozenset[str]:
    """Names of the files of a repository that are in the cache."""
    return frozenset(path.name for path in (_storage(name) / "blobs").glob("*"))


def _verify(name: HubName, path: Path, before: frozenset[str]) -> None:
    """Compare what arrived with the digests it is named by; MissingWeightsError after taking a damaged file away.

    The client itself compares the sizes only.
    """
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        blob = file.resolve()
        if not file.is_symlink() or blob.name in before or not _BLOB.fullmatch(blob.name):
            continue
        if _digest_like(blob) != blob.name:
            file.unlink()
            blob.unlink(missing_ok=True)
            raise MissingWeightsError(
                f"{file.name} of '{name}' arrived damaged (not the digest {blob.name[:12]}... that the hub states) and "
                "was removed: run again to download it again"
            )


def _digest_like(blob: Path) -> str:
    """The digest that names a file on the hub: sha256 for large files, git's sha1 for those kept in git."""
    if len(blob.name) == 64:
        return sha256(blob)
    content = blob.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def release_path(url: str) -> Path:
    """Where `release_file` keeps the file of an address."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / unquote(url.rpartition("/")[2])


def release_file(url: str, digest: str, what: str) -> Path:
    """A published file by its address, kept in torch's hub folder; `digest` is its sha256 or the first digits of it.

    MissingWeightsError names the command that mends it. A file that is there is taken as it is: its digest goes into
    the metric's card.
    """
    return fetch_release(url, digest, what, release_path(url))


def fetch_release(url: str, digest: str | None, what: str, path: Path) -> Path:
    """`release_file` at a path of the caller's; a `digest` of None is not known."""
    import torch

    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
    except Exception as error:  # urllib, socket and file errors: not downloadable
        raise MissingWeightsError(
            f"{what}: the weights '{path}' are missing and could not be downloaded ({type(error).__name__}): run "
            f"`mkdir -p {path.parent} && curl -L -o {path} {url}` on a machine with network access"
        ) from error
    return path
