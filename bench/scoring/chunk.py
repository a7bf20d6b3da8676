"""Some prompts' images while all metrics score them.

Each is read once, prepared once for each distinct preprocessing, and encoded once by each distinct network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import metrics
from bench.errors import BenchError
from bench.runtime.devices import out_of_memory
from bench.scoring.feature_cache import FeatureCache
from bench.scoring.memory import release
from bench.scoring.missing import Key, Target
from bench.scoring.reader import Reader
from bench.store.images import without_addresses
from bench.store.outdated import UNEXPECTED, UNREADABLE

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from metrics.base.features import FeatureMetric

T = TypeVar("T")

MULTIPLE = 4
"""Batches are filled up to it: kernels treat what is left over of a vector's width otherwise in the last digit."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What all chunks of one scoring share."""

    reader: Reader
    cache: FeatureCache


class Chunk:
    """The images of these prompts. `shared`: the preprocessings whose inputs more than one metric wants."""

    def __init__(self, target: Target, prompt_ids: Sequence[str], tools: Tools, shared: frozenset[str]) -> None:
        self.prompt_ids = list(prompt_ids)
        self.rows = {row.key: row for prompt_id in prompt_ids for row in target.images[prompt_id]}
        self._folder = target.store.path
        self._known_faults = target.faults
        self._tools = tools
        self._shared = shared
        self._images: dict[Key, Future[Image | str]] = {}
        self._faults: dict[Key, Future[str | None]] = {}
        self._inputs: dict[str, dict[Key, Future[Tensor | str]]] = {}
        self._features: dict[str, dict[Key, Tensor | str]] = {}

    def keys_of(self, prompt_id: str) -> list[Key]:
        """The images of one prompt."""
        return [key for key in self.rows if key[0] == prompt_id]

    def shelved(self, metric: FeatureMetric, keys: Iterable[Key]) -> set[Key]:
        """Those of the images whose features are on disk."""
        digests = {key: self.rows[key].sha256 for key in keys}
        known = self._tools.cache.features_of(metric).known(digests.values())
        return {key for key, digest in digests.items() if digest in known}

    def read_ahead(self, pixels: set[Key], others: set[Key]) -> None:
        """Start to decode the images in `pixels`, and to verify the files of the `others`."""
        for key in self.rows:
            if key in pixels:
                self._image(key)
            elif key in others:
                self._fault(key)

    def picture(self, key: Key) -> Image | str:
        """The decoded image, or why it cannot be used."""
        found = self._image(key).result()
        if isinstance(found, str):
            self._known_faults[key] = found
        return found

    def features(self, metric: FeatureMetric, keys: Sequence[Key]) -> dict[Key, Tensor | str]:
        """The features of images, float32, or for each why there are none."""
        made = self._features.setdefault(metric.backbone, {})
        missing = []
        for key in keys:
            if key not in made:
                fault = self._fault_of(key)
                if fault is None:
                    missing.append(key)
                else:
                    made[key] = unreadable(key, fault)
        cached = self._tools.cache.features_of(metric)
        kept = cached.get([self.rows[key].sha256 for key in missing])
        made |= {key: kept[self.rows[key].sha256] for key in missing if self.rows[key].sha256 in kept}
        new = self._encode(metric, [key for key in missing if key not in made])
        cached.put({self.rows[key].sha256: row for key, row in new.items() if not isinstance(row, str)})
        made |= new
        return {key: made[key] for key in keys}

    def _image(self, key: Key) -> Future[Image | str]:
        if key not in self._images:
            row = self.rows[key]
            self._images[key] = self._tools.reader.image(self._folder / row.path, row.sha256)
        return self._images[key]

    def _fault(self, key: Key) -> Future[str | None]:
        if key not in self._faults:
            row = self.rows[key]
            self._faults[key] = self._tools.reader.fault(self._folder / row.path, row.sha256)
        return self._faults[key]

    def _fault_of(self, key: Key) -> str | None:
        if key in self._images:
            found = self.picture(key)
            return found if isinstance(found, str) else None
        fault = self._fault(key).result()
        if fault is not None:
            self._known_faults[key] = fault
        return fault

    def _encode(self, metric: FeatureMetric, keys: Sequence[Key]) -> dict[Key, Tensor | str]:
        for key in keys:  # the network waits for nothing but the first of them
            self._image(key)
        keep = metric.preprocessing in self._shared
        held = self._inputs.setdefault(metric.preprocessing, {}) if keep else {}
        for key in keys:
            if key not in held:
                held[key] = self._tools.reader.submit(lambda key: self._input(metric, key), key)
        made: dict[Key, Tensor | str] = {}
        for start in range(0, len(keys), metric.batch_size):
            batch = keys[start : start + metric.batch_size]
            inputs = {key: held[key].result() if keep else held.pop(key).result() for key in batch}
            made |= {key: item for key, item in inputs.items() if isinstance(item, str)}
            ready = {key: item for key, item in inputs.items() if not isinstance(item, str)}
            made |= dict(zip(ready, embed_each(metric, list(ready.values())), strict=True))
        return made

    def _input(self, metric: FeatureMetric, key: Key) -> Tensor | str:
        picture = self.picture(key)
        return unreadable(key, picture) if isinstance(picture, str) else with_names([key], prepared(metric, picture))


def unreadable(key: Key, fault: str) -> str:
    """The reason of values that an image cannot have: the image, and its fault."""
    return f"{UNREADABLE}{file_of(key)}: {fault}"


def with_names(keys: Sequence[Key], found: T) -> T | str:
    """What was made of images; a reason that counts them from 0 ("image 1") says the name of that one instead."""
    counted = re.search(r"(?<!reference )\bimage (\d{1,6})(?![\w.])", found) if isinstance(found, str) else None
    if counted is None or int(counted[1]) >= len(keys):
        return found
    return f"{counted.string[: counted.start()]}{file_of(keys[int(counted[1])])}{counted.string[counted.end() :]}"


def file_of(key: Key) -> str:
    """An image as messages call it."""
    return f"{key[0]}/{key[1]}.png"


def prepared(metric: FeatureMetric, picture: Image) -> Tensor | str:
    """An image as the metric's network takes it, or why the metric refuses it."""
    from metrics.images import to_pil

    try:
        return metric.prepare(to_pil([picture], convert=metric.convert_first)[0])
    except Exception as error:
        return reason_of(error)


def embed_each(metric: FeatureMetric, inputs: Sequence[Tensor]) -> list[Tensor | str]:
    """The features of prepared images; where the network fails on the whole, of each alone, or why there are none."""
    return each_or_why(inputs, lambda some: list(metric.embed_inputs(some, MULTIPLE)))


def each_or_why(items: Sequence[Any], work: Callable[[Sequence[Any]], list[Any]]) -> list[Any]:
    """`work` on all items; if it fails, on each alone, with the reason in place of the results that it fails on.

    Where memory runs out, on half of them and so on; if it does for one alone, the error is raised.
    """
    if not items:
        return []
    short = False
    try:
        return work(items)
    except BenchError:  # about no image: a server that is gone
        raise
    except Exception as error:  # what failed is let go before it is tried again: the error holds its tensors
        short = out_of_memory(error)
        if len(items) == 1:
            if short:
                raise
            return [reason_of(error)]
    if short:
        release()
    step = (len(items) + 1) // 2 if short else 1
    return [one for start in range(0, len(items), step) for one in each_or_why(items[start : start + step], work)]


def reason_of(error: Exception) -> str:
    """The first line of an error, marked and with its type where it is not a sentence for users.

    Running out of memory is not a reason: it is raised again.
    """
    if out_of_memory(error):
        raise error
    text = without_addresses((str(error).strip().splitlines() or [""])[0][:300])
    return text if isinstance(error, metrics.MetricError) else f"{UNEXPECTED}{type(error).__name__}: {text}"
