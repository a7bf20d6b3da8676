"""How weights are read, where that has changed: the version that goes into the identity of the runs concerned.

The digest of weights says what was read, not how. Of a full pipeline older versions took the network alone, and a
network of a latent consistency model was run without its guidance; of some adapters (`bench.models.adapters.versions`)
the strength was wrong: pictures of such runs are not those of today.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.models.adapters.versions import adapter_file
from bench.models.adapters.versions import read_otherwise as adapter_read_otherwise
from bench.models.families import NETWORK_FOLDERS, TUNED_FOLDERS
from bench.models.load import family_class
from bench.models.loading import check_config
from bench.models.own_parts import check_parameterisation, own_parts
from bench.models.weights import resolve
from bench.store.outdated import LOADER_VERSION

if TYPE_CHECKING:
    from bench.suite.schema import Suite


def loader_versions(suite: Suite, names: Iterable[str]) -> dict[str, int]:
    """LOADER_VERSION for those weights names that version 1 read otherwise; the others are not in it.

    The suite's own weights may be among the names. Raises MissingError for weights that are not there, are damaged, or
    were trained for another parameterisation than the suite's model.
    """
    base = resolve(suite.model.weights)
    return {name: LOADER_VERSION for name in names if read_otherwise(suite, name, resolve(name), base)}


def to_fuse(suite: Suite, names: Iterable[str]) -> frozenset[str]:
    """Those weights names that are adapters, where the suite has them fused; whether one is depends on its schedule."""
    return frozenset(name for name in names if suite.fuse_lora and _is_adapter(resolve(name)))


def _is_adapter(path: Path) -> bool:
    """Whether loading finds an adapter at a path, and no whole network."""
    if path.is_file() or adapter_file(path) is not None:
        return adapter_file(path) is not None
    whole = [path / "config.json", *(path / name for names in TUNED_FOLDERS.values() for name in names)]
    files = [] if any(one.exists() for one in whole) else path.rglob("*.safetensors")
    return any(adapter_file(file) is not None for file in files)


def read_otherwise(suite: Suite, name: str, path: Path, base: Path | None) -> str:
    """What version 1 did with the weights at `path` that this one does not, as "left out ..."; "" if nothing.

    `name` is the suite's name of the weights, `base` the folder of its model; without it (None) a pipeline's own parts
    cannot be told from the base model's, and are not looked at. Raises MissingError as `loader_versions`.
    """
    if path.is_dir() and name != suite.model.weights and base is not None and (base / "scheduler").is_dir():
        check_parameterisation(path, base, suite.sampler.options)
    brings = name != suite.model.weights and base is not None and _may_bring(path)
    if brings and base is not None and (own := own_parts(path, base, _parts(suite), suite.dtype)):
        return f"left out the {' and the '.join(own)} of {name}"
    if _is_consistency_model(path):
        return f"ran {name} with classifier-free guidance, and not with the guidance that its network takes"
    return adapter_read_otherwise(path)


def _may_bring(path: Path) -> bool:
    """Whether weights can have parts beside a network: a file, or a folder with one of them."""
    return path.is_file() or (path / "vae").is_dir() or any(path.glob("text_encoder*"))


def _parts(suite: Suite) -> dict[str, str]:
    """The parts of the suite's family; one of one's own need not be built from diffusers' folders."""
    return dict(getattr(family_class(suite.model.family), "parts", {}))


def _is_consistency_model(path: Path) -> bool:
    """Whether the network takes its guidance as an input: by its configuration, in a pipeline or alone."""
    names = {*NETWORK_FOLDERS["unet"], *TUNED_FOLDERS["unet"]}
    folders = [path, *(path / name for name in sorted(names))] if path.is_dir() else []
    configs = [check_config(folder) for folder in folders if (folder / "config.json").is_file()]
    return any(config.get("time_cond_proj_dim") is not None for config in configs)
