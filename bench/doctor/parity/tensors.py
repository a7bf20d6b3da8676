"""Numbers from a seed that are the same on every machine: raw bits of PCG64, scaled; no libm, no torch generator."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_STEP = 7  # between the rows of a tiled matrix: neighbouring rows share no column


class Draw:
    """Tensors that depend on (seed, name) only, and a digest of everything that was drawn or noted."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._digests: dict[str, str] = {}

    def note(self, name: str, content: bytes) -> None:
        """Make `content` part of the digest."""
        self._digests[name] = hashlib.sha256(content).hexdigest()

    @property
    def digest(self) -> str:
        """sha256 (hex) of all names and contents, in order of name."""
        lines = (f"{name} {value}\n" for name, value in sorted(self._digests.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def bits(self, name: str, count: int) -> NDArray[np.int16]:
        """`count` whole numbers in -32768..32767, uniform."""
        generator = np.random.PCG64([self.seed, zlib.crc32(name.encode())])
        words = np.asarray(generator.random_raw(-(-count // 4)), dtype="<u8")
        return words.view("<i2")[:count].astype(np.int16)

    def tensor(self, name: str, *shape: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
        """float32 of `shape`: uniform with mean `shift` and deviation `scale`."""
        values = self.bits(name, prod(shape)).astype(np.float32) * np.float32(scale * 3**0.5 / 32768)
        values += np.float32(shift)
        self.note(f"{name} {list(shape)}", values.astype("<f4").tobytes())
        return torch.from_numpy(values).reshape(shape)

    def tiled(self, name: str, *shape: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
        """As `tensor`, for the large: the rows overlap in one small storage, so that the file stays small."""
        rows, columns = shape[0], prod(shape[1:])
        pool = self.tensor(name, _STEP * (rows - 1) + columns, scale=scale, shift=shift)
        inner: list[int] = [1]
        for size in reversed(shape[2:]):
            inner.insert(0, inner[0] * size)
        return torch.as_strided(pool, shape, (_STEP, *inner) if len(shape) > 1 else (_STEP,))

    def linear(self, name: str, out: int, into: int) -> Iterator[tuple[str, Tensor]]:
        """Weight and bias of a linear layer that keeps the size of its input."""
        yield f"{name}.weight", self.tensor(f"{name}.weight", out, into, scale=into**-0.5)
        yield f"{name}.bias", self.tensor(f"{name}.bias", out, scale=0.05)

    def norm(self, name: str, width: int) -> Iterator[tuple[str, Tensor]]:
        """Weight and bias of a layer norm, none of them trivial."""
        yield f"{name}.weight", self.tensor(f"{name}.weight", width, scale=0.1, shift=1.0)
        yield f"{name}.bias", self.tensor(f"{name}.bias", width, scale=0.05)
