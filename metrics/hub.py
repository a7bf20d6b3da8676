"""Finding weights: a local path, or a file or folder of the Hugging Face hub (from its cache, else downloaded)."""

from __future__ import annotations

import re
import socket
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from metrics.errors import MissingWeightsError

_HUB = re.compile(
    r"^(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+?))?(?::(?P<file>[^:]+))?$"
)


def locate(spec: str, patterns: Sequence[str] = ()) -> Path:
    """The local path of `spec`: a local path, or a hub id "owner/name[@revision][:file]" that is fetched.

    `patterns` limits what is fetched of a whole repository. MissingWeightsError names the command that mends it.
    """
    path = Path(spec).expanduser()
    if path.exists():
        return path
    match = _HUB.match(spec)
    if match is None:
        raise MissingWeightsError(
            f"weights '{spec}' do not exist: give the path of a file or folder, or a hub id such as owner/name."
        )
    return _fetch(match["repo"], match["revision"], match["file"], patterns)


def cached(spec: str) -> Path | None:
    """Where a local path, a hub id or the address of a release file is on this machine; nothing is fetched."""
    path = Path(spec).expanduser()
    if path.exists():
        return path
    if spec.startswith(("http://", "https://")):
        path = release_path(spec)
        return path if path.is_file() else None
    match = _HUB.match(spec)
    if match is None:
        return None
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    try:
        if match["file"]:
            found = try_to_load_from_cache(match["repo"], match["file"], revision=match["revision"])
            return Path(found) if isinstance(found, str) else None
        return Path(snapshot_download(match["repo"], revision=match["revision"], local_files_only=True))
    except Exception:  # the client has several errors for what is not there
        return None


def _is_model(folder: Path) -> bool:
    """Whether a cached folder is whole enough: an interrupted download leaves the configuration alone."""
    return (folder / "config.json").is_file() and any(folder.glob(ending) for ending in ("*.safetensors", "*.bin"))


def _check_reachable() -> None:
    """Raise OSError at once where the hub's name cannot be resolved: its client would retry for half a minute."""
    from huggingface_hub import constants

    if not urllib.request.getproxies():  # behind a proxy the name need not resolve here
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)


def _fetch(repo: str, revision: str | None, file: str | None, patterns: Sequence[str]) -> Path:
    try:
        from huggingface_hub import hf_hub_download, snapshot_download
    except ModuleNotFoundError as error:
        raise MissingWeightsError(
            f"fetching {repo} needs the package 'huggingface_hub': run `pip install huggingface_hub`."
        ) from error

    def get(local: bool) -> Path:
        if file:
            return Path(hf_hub_download(repo, file, revision=revision, local_files_only=local))
        chosen = list(patterns) or None
        return Path(snapshot_download(repo, revision=revision, allow_patterns=chosen, local_files_only=local))

    try:
        cached = get(local=True)
        if file or _is_model(cached):
            return cached
    except Exception:  # not in the cache (the client has several errors for it)
        pass
    try:
        _check_reachable()
        return get(local=False)
    except Exception as error:  # the hub client raises errors of four libraries; each means: not here, not reachable
        command = " ".join(["hf download", repo, *([file] if file else [])])
        command += f" --revision {revision}" if revision else ""
        raise MissingWeightsError(
            f"weights '{repo}{':' + file if file else ''}' are neither a local path nor in the hub cache and could "
            f"not be downloaded ({type(error).__name__}): run `{command}` where there is a network, or give their path."
        ) from error


def release_path(url: str) -> Path:
    """Where `release_file` keeps the file of an address."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / unquote(url.rpartition("/")[2])


def release_file(url: str, digest: str, what: str) -> Path:
    """A published file by its address, kept in torch's hub folder; `digest` is its sha256 or the first digits of it.

    MissingWeightsError names the command that mends it. A file that is there is taken as it is: its digest goes into
    the metric's card.
    """
    import torch

    path = release_path(url)
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
    except Exception as error:  # urllib, socket and file errors: not downloadable
        raise MissingWeightsError(
            f"{what}: the weights '{path}' are missing and could not be downloaded ({type(error).__name__}): run "
            f"`mkdir -p {path.parent} && curl -L -o {path} {url}` where there is a network."
        ) from error
    return path
