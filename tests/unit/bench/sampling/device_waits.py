"""Counts where the host would wait for a CUDA device, on a machine that has none.

Tensors "on cuda" are fake: they have a shape and a device and no values. Tensors on the CPU are real, so that
schedulers go their usual way. Every operation passes a dispatch mode, which counts what would wait on a real device:

- a value of a tensor on the device is read (`item`, `bool`, an index by a mask, `nonzero`),
- a tensor is copied between host and device, and not queued from pinned memory.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda:0")
_READS = (
    "aten._local_scalar_dense",
    "aten.item",
    "aten.nonzero",
    "aten.masked_select",
    "aten.is_nonzero",
    "aten.unique",
    "aten.equal",
)
_COPIES = ("aten._to_copy", "aten.copy_", "aten.to", "aten.new_tensor")


class Waits(TorchDispatchMode):
    """What would wait, as texts, in `found`."""

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()
        self.fake = fake
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = str(func).rsplit(".", 1)[0]
        tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
        there = [one for one in tensors if one.device.type == "cuda"]
        devices = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.device)]
        target = devices[0].type if devices else None
        if name in _READS and there:
            self._note(name)
            return torch.ops.aten.zeros([0, 1], dtype=torch.int64) if name == "aten.nonzero" else 0
        if name == "aten.index" and there and any(is_mask(one) for one in tree_flatten(args[1])[0]):
            self._note("index by a mask")
        if name in _COPIES:
            self._copy(name, args, kwargs, there, target)
        if not there and target != "cuda":
            return func(*args, **kwargs)
        with self.fake:  # values are nowhere: what is on the device is fake, also what is made of the host's
            return func(*tree_map(self._as_fake, args), **tree_map(self._as_fake, kwargs))

    def _copy(self, name: str, args: Any, kwargs: Any, there: list[Tensor], target: str | None) -> None:
        queued = kwargs.get("non_blocking", next((one for one in args if isinstance(one, bool)), False))
        source = args[1] if name == "aten.copy_" else args[0]
        goes_to = args[0].device.type if name == "aten.copy_" else target or source.device.type
        if source.device.type != goes_to and not (queued and goes_to == "cuda"):
            self._note(f"{name} from {source.device.type} to {goes_to}")

    def _as_fake(self, one: Any) -> Any:
        return self.fake.from_tensor(one) if isinstance(one, Tensor) and not isinstance(one, FakeTensor) else one

    def _note(self, what: str) -> None:
        ours = [f"{one.filename.rsplit('/', 2)[-1]}:{one.lineno}" for one in traceback.extract_stack()[:-3]]
        self.found.append(f"{what} at {' < '.join(reversed(ours[-12:]))}")


def is_mask(one: Any) -> bool:
    """Whether an index is one that must be counted before its result has a size."""
    return isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8)


def on_cuda(model: Any, fake: FakeTensorMode) -> None:
    """Put the networks, encoders and known states of a model on the device that is not there."""
    model.device = CUDA
    modules = list({id(one.module): one.module for one in model.networks.values()}.values())
    model._ready.residence._here = modules
    for module in modules:
        to_fake(module, fake)


def to_fake(module: torch.nn.Module, fake: FakeTensorMode) -> None:
    """Replace the parameters and buffers of a module."""
    for part in module.modules():
        for store in (part._parameters, part._buffers):
            for name, value in store.items():
                if value is not None:
                    store[name] = torch.nn.Parameter(fake_cuda(value, fake), requires_grad=False)


def fake_cuda(value: Tensor, fake: FakeTensorMode) -> Tensor:
    """A tensor like this one, on the device."""
    with fake:
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=CUDA)


@contextlib.contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Waits, FakeTensorMode]]:
    """A mode that counts; pinned memory is ordinary memory."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda one, *_: one)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(FakeTensor, "__deepcopy__", lambda one, _: one, raising=False)  # a fork of a scheduler's state
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    waits = Waits(fake)
    yield waits, fake
