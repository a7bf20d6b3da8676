"""Statistics of reference images that somebody else computed: an .npz file in place of the images.

Two kinds are read: those of `bench reference make`, which say the network that made them, and pairs of `mu` and `sigma`
as pytorch-fid, clean-fid and others write them, whose network the suite has to state.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import metrics
from bench.errors import MissingError, UsageError
from metrics.weights.state_dict import sha256

if TYPE_CHECKING:
    from bench.suite.schema import Reference

_MOST_BYTES = 4 << 30


def statistics_identity(reference: Reference) -> dict[str, Any]:
    """The content of the file, and the network that it is stated to be of."""
    stated = {} if reference.network is None else {"network": reference.network}
    return {"kind": "statistics", "content": sha256(_path(reference))} | stated


def read_statistics(metric: Any, kind: type[Any], reference: Reference) -> Any:
    """The statistics in the file as those of `metric`, whose own are of the class `kind`.

    Raises UsageError where the file is none, is of another network, or does not say of which.
    """
    path, name = _path(reference), metric.card.name
    names = _names(path)
    if {"backbone", "digest"} <= names:
        try:
            found = kind.read(path)
        except metrics.MetricError as error:
            raise UsageError(f"the reference {path} holds no statistics of {name}: {error}") from None
        if found.backbone != getattr(metric, "backbone", ""):
            raise UsageError(
                f"the reference {path} was made with another network, or other weights, than {name} has here: make it "
                f"again with `bench reference make`, or name the images"
            )
        return found
    if not {"mu", "sigma"} <= names:
        held = ", ".join(sorted(names)[:6]) or "nothing"
        raise UsageError(f"the reference {path} holds {held}, where mu and sigma are expected")
    if not hasattr(kind, "given"):
        raise UsageError(f"mu and sigma ({path}) are enough for Frechet distances only: {name} needs reference images")
    if reference.network != name:
        stated = (
            f"is stated to be of {reference.network}" if reference.network else "does not say of which network it is"
        )
        raise UsageError(
            f'the reference {path} {stated}, but the metric is {name}: set network = "{name}" in [reference], or '
            f"--reference-network {name}, if its features are those of {name}, resize included (docs/images.md)"
        )
    return _given(metric, kind, path)


def _path(reference: Reference) -> Path:
    path = Path(str(reference.path)).expanduser()
    if not path.is_file():
        raise MissingError(f"the reference statistics {path} do not exist: correct reference.path in the suite")
    return path


def _names(path: Path) -> set[str]:
    import numpy as np

    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
            return set(held.files)
    except Exception as error:  # zip and format errors: not such a file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UsageError(f"the reference {path} is no .npz file that can be read ({reason})") from None


def _given(metric: Any, kind: type[Any], path: Path) -> Any:
    """mu [D] and sigma [D, D], checked against the metric's number of features."""
    import numpy as np

    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
            mean, covariance = np.asarray(held["mu"], np.float64), np.asarray(held["sigma"], np.float64)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UsageError(f"mu and sigma of the reference {path} cannot be read ({reason})") from None
    width = int(getattr(metric, "width", 0)) or mean.size
    if mean.shape != (width,) or covariance.shape != (width, width):
        raise UsageError(
            f"the reference {path} has mu {list(mean.shape)} and sigma {list(covariance.shape)}, but "
            f"{metric.card.name} has {width} features: it is of another network"
        )
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise UsageError(f"the reference {path} has values that are not finite")
    scale = float(np.abs(covariance).max(initial=0.0))
    if np.abs(covariance - covariance.T).max(initial=0.0) > 1e-3 * scale or (np.diag(covariance) < -1e-6 * scale).any():
        raise UsageError(
            f"sigma of the reference {path} is no covariance: it must be symmetric, its diagonal not negative"
        )
    return kind.given(mean, covariance, getattr(metric, "backbone", ""))
