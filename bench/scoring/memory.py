"""Which metrics are in memory together: as many as take no more than the largest of them takes alone.

So the peak of memory is that of the largest model, whatever the number of metrics, and small models still score side
by side. A device with memory of its own is not shared with other programs' files and pictures: there as many are
together as fit (`SHARE`). Sizes are known exactly once a model was loaded, and before from the shapes in its files.
"""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import metrics
from bench.errors import BenchError
from bench.runtime.devices import out_of_memory, too_little_memory
from bench.scoring.metric_weights import here, is_served, load_metric, network_of
from metrics.weights.state_dict import read_state

if TYPE_CHECKING:
    from bench.suite.schema import Suite

FLOOR = 512 << 20
"""Models that take less than this together may share the memory even where the largest is smaller."""
HEADROOM = 1 << 30
"""What is left free for images and activations, where little memory is free."""
SHARE = 0.7
"""Of a device's own memory that is free, what models may take together; the rest is for activations."""
_FLOAT = 4
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".tar", ".ckpt")


class Models:
    """The metrics of a suite that are to be scored, loaded group by group. `failures`: why one could not be loaded."""

    def __init__(self, names: Sequence[str], suite: Suite, device: str) -> None:
        from bench.runtime.devices import prepare_torch

        self._place = prepare_torch(device)
        self._suite = suite
        self._waiting = list(names)
        self._sizes = {name: _expected(name, suite) for name in names}
        self.failures: dict[str, Exception] = {}

    @property
    def waiting(self) -> tuple[str, ...]:
        """The metrics that were in no group yet."""
        return tuple(self._waiting)

    def groups(self) -> Iterator[dict[str, Any]]:
        """Loaded metrics by name, a group at a time; the caller keeps no reference to one when it asks for the next."""
        while self._waiting:
            group = self._load_group()
            if group:
                yield group
            group.clear()
            release()

    def _load_group(self) -> dict[str, Any]:
        loaded: dict[str, Any] = {}
        used, free = 0, free_bytes(self._place)
        for name in list(self._waiting):
            if loaded and not self._fits(name, loaded, used, free):
                continue
            self._waiting.remove(name)
            metric = self._load(name)
            if metric is None:
                continue
            self._sizes[name] = size_of([metric])
            together = size_of([*loaded.values(), metric])
            if loaded and together > self._room(free):
                self._waiting.append(name)  # its files promised less
                del metric
                release()
                continue
            loaded[name], used = metric, together
        return loaded

    def _fits(self, name: str, loaded: Iterable[str], used: int, free: float) -> bool:
        network = network_of(name, self._suite.metrics[name])
        if network is not None and network in {network_of(other, self._suite.metrics[other]) for other in loaded}:
            return True
        size = self._sizes[name]
        return size is not None and used + size <= self._room(free)

    def _room(self, free: float) -> float:
        if self._place.startswith("cuda"):
            return min(free * SHARE, free - HEADROOM)
        largest = max((size for size in self._sizes.values() if size is not None), default=0)
        return min(max(FLOOR, largest), free - HEADROOM)

    def _load(self, name: str) -> Any:
        spec = self._suite.metrics[name]
        try:
            return load_metric(name, spec, self._place, self._suite.label)
        except (BenchError, metrics.MetricError) as error:
            self.failures[name] = error
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            self.failures[name] = too_little_memory(self._place, self._sizes[name])
        return None


def _expected(name: str, suite: Suite) -> int | None:
    spec = suite.metrics[name]
    return 0 if is_served(name, spec) else expected_bytes(name, spec.weights)


def expected_bytes(name: str, weights: str | None) -> int | None:
    """What a metric's weights will take in float32, from its files; None where they are not on this machine yet."""
    try:
        path = here(weights, metrics.info(name).weights)
    except (BenchError, metrics.MetricError):
        return None
    if path is None:
        facts = metrics.info(name)
        if weights is None and facts.megabytes is not None:
            return int(facts.megabytes * 2**20)
        return None if facts.weights else 0
    files = [path] if path.is_file() else [item for item in path.rglob("*") if item.suffix in _SUFFIXES]
    return sum(file_bytes(item) for item in files)


def file_bytes(path: Path) -> int:
    """What the tensors of a checkpoint take in float32; the size of the file where its shapes cannot be read."""
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(str(path), framework="pt") as opened:
                shapes = [opened.get_slice(key).get_shape() for key in opened.keys()]  # noqa: SIM118
            return _FLOAT * sum(int(math.prod(shape)) for shape in shapes)
        return _FLOAT * sum(int(tensor.numel()) for tensor in read_state(path).values())
    except Exception:  # loading it will say what is wrong
        return path.stat().st_size if path.is_file() else 0


def size_of(things: Iterable[Any]) -> int:
    """Bytes of the tensors that metrics hold in modules, attributes and closures; what two share counts once."""
    import torch

    seen: set[int] = set()
    storages: dict[int, int] = {}
    stack = list(things)
    while stack:
        thing = stack.pop()
        if id(thing) in seen or isinstance(thing, (type, ModuleType, str, bytes, int, float)):
            continue
        seen.add(id(thing))
        if isinstance(thing, torch.nn.Module):
            stack += [*thing.parameters(), *thing.buffers()]
        elif isinstance(thing, torch.Tensor):
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        else:
            stack += _parts(thing)
    return sum(storages.values())


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, Mapping):
        return list(thing.values())
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing)
    if isinstance(thing, MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, FunctionType):
        return [cell.cell_contents for cell in thing.__closure__ or () if _filled(cell)]
    slots = [getattr(thing, name, None) for cls in type(thing).__mro__ for name in getattr(cls, "__slots__", ())]
    return [*vars(thing).values(), *slots] if hasattr(thing, "__dict__") else slots


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # an empty cell
        return False


def free_bytes(device: str) -> float:
    """Memory that is free on a device; infinity where the system does not tell."""
    import torch

    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return float(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        return math.inf


def release() -> None:
    """Give back the memory of what was dropped: to the device, and from the allocator to the system."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        import contextlib
        import ctypes

        with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)
