"""Mergeable statistics of feature vectors: mean and scatter in float64, and the features themselves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from metrics.errors import BadInputError

Array = NDArray[np.float64]


def _same(a: Any, b: Any) -> None:
    if a.backbone != b.backbone:
        raise BadInputError("these statistics come from different networks or settings and cannot be combined")
    if a.width != b.width:
        raise BadInputError(f"these statistics have {a.width} and {b.width} features and cannot be combined")


def _open(path: Path | str, names: tuple[str, ...]) -> dict[str, Any]:
    try:
        with (
            Path(path).open("rb") as stream,
            np.load(stream, allow_pickle=False) as stored,
        ):  # numpy leaks its own stream
            return {name: stored[name] for name in (*names, "digest")}
    except FileNotFoundError as error:
        raise BadInputError(f"statistics file '{path}' does not exist") from error
    except Exception as error:  # zip, key and format errors: not such a file
        raise BadInputError(f"'{path}' is not a statistics file with {', '.join(names)} ({error})") from error


def _checked(statistics: Any, digest: Any, path: Path | str) -> Any:
    if statistics.digest != str(digest):
        raise BadInputError(f"statistics file '{path}' is not what was saved (its digest differs): recompute it")
    return statistics


def _digest(backbone: str, n: int, *arrays: Array) -> str:
    whole = hashlib.sha256(f"{backbone}\0{n}".encode())
    for array in arrays:
        whole.update(f"\0{array.shape}\0".encode())
        whole.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return whole.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Count, mean [D] and scatter M2 [D, D] = sum (x - mean)(x - mean)^T, float64; `a + b` is that of the union.

    Merging follows Chan, Golub and LeVeque 1979. `backbone` says which network made the features.
    """

    n: int
    mean: Array
    scatter: Array
    backbone: str = ""

    @classmethod
    def of(cls, features: NDArray[Any], backbone: str = "") -> Self:
        """The moments of features [N, D]."""
        rows = np.asarray(features, dtype=np.float64)
        if rows.ndim != 2:
            raise BadInputError(f"features must be [N, D], not {list(rows.shape)}")
        if len(rows) == 0:
            return cls(0, np.zeros(rows.shape[1]), np.zeros((rows.shape[1],) * 2), backbone)
        mean = rows.mean(axis=0)
        centred = rows - mean
        return cls(len(rows), mean, centred.T @ centred, backbone)

    @property
    def width(self) -> int:
        """Number of features D."""
        return len(self.mean)

    def __add__(self, other: Moments) -> Self:
        if not isinstance(other, Moments):
            return NotImplemented
        _same(self, other)
        total = self.n + other.n
        if total == 0:
            return self
        step = other.mean - self.mean
        share = other.n / total
        scatter = self.scatter + other.scatter + np.outer(step, step) * (self.n * share)
        return type(self)(total, self.mean + step * share, scatter, self.backbone)

    @classmethod
    def given(cls, mean: Array, covariance: Array, backbone: str = "") -> GivenMoments:
        """Moments that somebody else computed, mean [D] and covariance [D, D], of an unknown number of images."""
        return GivenMoments(0, mean, covariance, backbone)

    @property
    def has_covariance(self) -> bool:
        """Whether there are enough images for a covariance."""
        return self.n >= 2

    @property
    def digest(self) -> str:
        """sha256 (hex) of the content, by which a reference is told."""
        return _digest(self.backbone, self.n, self.mean, self.scatter)

    @property
    def covariance(self) -> Array:
        """The unbiased covariance [D, D] (divided by n - 1); BadInputError for fewer than two images."""
        if self.n < 2:
            raise BadInputError(f"a covariance needs at least 2 images, not {self.n}")
        return self.scatter / (self.n - 1)

    def save(self, path: Path | str) -> None:
        """Write to an .npz file."""
        with open(path, "wb") as stream:
            np.savez(
                stream,
                n=self.n,
                mean=self.mean,
                scatter=self.scatter,
                mu=self.mean,  # these two for other tools, which read no more
                sigma=self.covariance if self.has_covariance else self.scatter,
                backbone=self.backbone,
                digest=self.digest,
            )

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read what `save` wrote; BadInputError if the file is something else or was changed."""
        held = _open(path, ("n", "mean", "scatter", "backbone"))
        found: Self = _checked(
            cls(int(held["n"]), held["mean"], held["scatter"], str(held["backbone"])), held["digest"], path
        )
        return found


class GivenMoments(Moments):
    """A mean and a covariance of an unknown number of images, which counts as 0: nothing can be merged with them."""

    __slots__ = ()

    @property
    def has_covariance(self) -> bool:
        """True: it was given."""
        return True

    @property
    def covariance(self) -> Array:
        """As it was given."""
        return self.scatter


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The features themselves [N, D], float64; `a + b` puts them one behind the other."""

    rows: Array
    backbone: str = ""

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.rows)

    @property
    def width(self) -> int:
        """Number of features D."""
        return int(self.rows.shape[1])

    @property
    def digest(self) -> str:
        """sha256 (hex) of the content, by which a reference is told. It depends on the order of the rows."""
        return _digest(self.backbone, self.n, self.rows)

    def __add__(self, other: Features) -> Self:
        if not isinstance(other, Features):
            return NotImplemented
        _same(self, other)
        return type(self)(np.concatenate([self.rows, other.rows]), self.backbone)

    def save(self, path: Path | str) -> None:
        """Write to an .npz file."""
        with open(path, "wb") as stream:
            np.savez(stream, rows=self.rows, backbone=self.backbone, digest=self.digest)

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read what `save` wrote; BadInputError if the file is something else or was changed."""
        held = _open(path, ("rows", "backbone"))
        found: Self = _checked(cls(held["rows"], str(held["backbone"])), held["digest"], path)
        return found
