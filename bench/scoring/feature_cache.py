"""Image features on disk: what one network says of an image is computed once, for all metrics and runs.

They lie in `<results>/cache/features/<network>/part-*.npz`, float32, found by the sha256 of the image's file. The name
of a network's folder is a digest of the metric's `backbone` (weights, preprocessing and what else decides the
features), the kind of device and the versions of the libraries, so values are the same with and without this cache.
`network.json` in it has them as they are: after an upgrade of the libraries, features of the versions before are taken
over once `PROBES` images have the same in both, to the bit, and none has others.
Features of more than 32 KiB an image (such as ImageReward's 197 x 1024 tokens) are not kept.

Parts are written whole to a temporary name and renamed, each under the sha256 of its content, so a kill or two runs at
once leave nothing half-written, and no lock is needed; a part whose content does not have the digest in its name is
reported, deleted and recomputed. Parts of earlier versions, without a digest, are not used. The folder may be deleted
at any time; beyond `MOST_TOTAL` bytes the parts that were used longest ago are deleted when scoring begins. The
environment variable BENCH_FEATURE_CACHE=off does without it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.runtime.log import ONCE, get_logger
from bench.store.atomic import atomic_write, link_or_copy, make_folder, read_bytes, remove_damaged
from bench.store.digests import digest_in_name, sha256_of
from bench.store.leftovers import clean_leftovers
from metrics.types import digest_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from metrics.base.features import FeatureMetric

    Rows = NDArray[np.float32]

logger = get_logger(__name__)

VARIABLE = "BENCH_FEATURE_CACHE"
MOST_BYTES = 32 << 10
"""Of the features of one image; larger ones are not kept."""
MOST_TOTAL = 16 << 30
"""Bytes of all parts of a results folder: those of four million images by one network of 1,024 features."""
FORMAT = 1
PROBES = 16
"""Images whose features must be the same under two versions of the libraries, before the others' are believed to be."""
FACTS = "network.json"
_OPEN_PARTS = 8  # parts whose features are held in memory


class NetworkFeatures:
    """The kept features of one network, by the sha256 (hex) of the image.

    `identity` says what decides them (`features_identity`); without it nothing of earlier libraries is taken over.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self._identity = identity
        self._earlier = None if identity is None else earlier_of(folder, identity)
        self._agreed = 0  # images that have the same features under both libraries
        self._entries: dict[str, tuple[Path, int]] | None = None
        self._open: OrderedDict[Path, Rows] = OrderedDict()

    def known(self, images: Iterable[str]) -> set[str]:
        """Those of the images whose features are said to be here."""
        entries = self._index()
        return {image for image in images if image in entries}

    def get(self, images: Sequence[str]) -> dict[str, Tensor]:
        """The features of those images that are here, float32."""
        import torch

        found: dict[str, Tensor] = {}
        entries = self._index()
        for image in images:
            path, row = entries.get(image, (None, 0))
            rows = None if path is None else self._rows(path)
            if rows is not None and row < len(rows):
                found[image] = torch.from_numpy(rows[row].copy())
        return found

    def put(self, features: Mapping[str, Tensor]) -> None:
        """Keep features (float32, on the CPU) of images, as one part; too large or unwritable ones are not kept."""
        import numpy as np

        self._compare(features)
        new = {image: row for image, row in features.items() if image not in self._index()}
        if not new or any(row.nbytes > MOST_BYTES for row in new.values()):
            return
        if len({tuple(row.shape) for row in new.values()}) > 1:
            return
        rows = np.stack([row.numpy() for row in new.values()]).astype("<f4", copy=False)
        buffer = io.BytesIO()
        np.savez(buffer, images=np.array(list(new), dtype="S64"), rows=rows)
        content = buffer.getvalue()
        path = self.folder / f"part-{sha256_of(content)}.npz"
        try:
            atomic_write(path, content)
            self._write_identity()
        except UsageError as error:
            logger.warning(f"features are not cached: {error}", extra=ONCE)
            return
        self._add(path, list(new))

    def _write_identity(self) -> None:
        if self._identity is not None and not (self.folder / FACTS).exists():
            atomic_write(self.folder / FACTS, json.dumps(self._identity, sort_keys=True) + "\n")

    def _compare(self, features: Mapping[str, Tensor]) -> None:
        """Compare new features with those of earlier libraries, and take these over, or leave them for good."""
        if self._earlier is None:
            return
        there = self._earlier.get([image for image in features if image in self._earlier.known(features)])
        earlier = self._earlier.folder
        if any(not _same(row, features[image]) for image, row in there.items()):
            self._earlier = None
            logger.info(f"{earlier}: features differ under the libraries of today; they are computed again")
            return
        self._agreed += len(there)
        if self._agreed < PROBES:
            return
        self._earlier = None
        taken = sum(_link(part, self.folder / part.name) for part in earlier.glob("part-*.npz"))
        self._entries = None
        with contextlib.suppress(UsageError):
            self._write_identity()
        logger.info(
            f"{self.folder}: {taken} parts of {earlier.name} taken over: {self._agreed} images have the same features "
            "under the libraries of today"
        )

    def _index(self) -> dict[str, tuple[Path, int]]:
        if self._entries is None:
            self._entries = {}
            clean_leftovers(self.folder)
            for path in sorted(self.folder.glob("part-*.npz")):
                if digest_in_name(path) is None:
                    continue
                images = self._read(path, "images")
                if images is not None:
                    self._add(path, [image.decode("ascii", "replace") for image in images.tolist()])
        return self._entries

    def _add(self, path: Path, images: Sequence[str]) -> None:
        assert self._entries is not None
        for row, image in enumerate(images):
            self._entries.setdefault(image, (path, row))

    def _rows(self, path: Path) -> Rows | None:
        if path not in self._open:
            rows = self._read(path, "rows")
            if rows is None:
                return None
            self._open[path] = rows
            with contextlib.suppress(OSError):  # a folder that cannot be written is not pruned either
                os.utime(path)
            if len(self._open) > _OPEN_PARTS:
                self._open.popitem(last=False)
        self._open.move_to_end(path)
        return self._open[path]

    def _read(self, path: Path, name: str) -> Any:
        """An array of a part; None, with a note, where the part is damaged (the archive checks its sums)."""
        import numpy as np

        try:
            content = read_bytes(path)
            if sha256_of(content) != digest_in_name(path):
                raise ValueError("its content does not have the sha256 in its name")
            with np.load(io.BytesIO(content), allow_pickle=False) as part:
                return part[name]
        except FileNotFoundError:  # removed meanwhile
            why = ""
        except Exception as error:  # damage shows in many ways: archive, header, sums, keys
            why = f"{type(error).__name__}: {error}"
        if why:
            gone = remove_damaged(path)
            logger.warning(
                f"{path} is damaged ({why}); {'deleted' if gone else 'it cannot be deleted'}, its features will be "
                "recomputed",
                extra=ONCE,
            )
        assert self._entries is not None
        self._entries = {image: entry for image, entry in self._entries.items() if entry[0] != path}
        return None


class NoNetworkFeatures(NetworkFeatures):
    """Keeps nothing."""

    def __init__(self) -> None:
        super().__init__(Path())
        self._entries = {}

    def put(self, features: Mapping[str, Tensor]) -> None:
        """Nothing."""


class FeatureCache:
    """The cached features of every network below a folder, or none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if switched_off() else folder
        self._by_network: dict[str, NetworkFeatures] = {}

    def prune(self) -> int:
        """Delete the parts that were used longest ago while all are more than `MOST_TOTAL`; returns how many."""
        if self._folder is None:
            return 0
        parts = []
        for path in self._folder.glob("*/part-*.npz"):
            with contextlib.suppress(OSError):  # removed meanwhile
                found = path.stat()
                parts.append((found.st_mtime, found.st_size // max(1, found.st_nlink), path))  # some lie in two folders
        total, deleted = sum(size for _, size, _ in parts), 0
        for _, size, path in sorted(parts):
            if total <= MOST_TOTAL:
                break
            if remove_damaged(path):
                total, deleted = total - size, deleted + 1
        if deleted:
            logger.info(f"{self._folder}: {deleted} parts that were used longest ago are deleted, {total:,} bytes stay")
        return deleted

    def features_of(self, metric: FeatureMetric) -> NetworkFeatures:
        """The cached features of the network that a metric sees images through."""
        identity = features_identity(metric)
        name = digest_of(format=FORMAT, **identity)[:16]
        if name not in self._by_network:
            self._by_network[name] = (
                NoNetworkFeatures() if self._folder is None else NetworkFeatures(self._folder / name, identity)
            )
        return self._by_network[name]


def features_identity(metric: FeatureMetric) -> dict[str, Any]:
    """What decides the features of an image to the last digit: the network, the kind of device and the libraries."""
    return {
        "backbone": metric.backbone,
        "device": metric.device.type,
        "libraries": dict(metric.card.libraries),
    }


def earlier_of(folder: Path, identity: Mapping[str, Any]) -> NetworkFeatures | None:
    """The features that the same network on the same kind of device left under other libraries, the newest; or None."""
    found = []
    for file in folder.parent.glob(f"*/{FACTS}"):
        if file.parent == folder:
            continue
        try:
            facts = json.loads(read_bytes(file))
            moment = file.stat().st_mtime
        except (OSError, UsageError, ValueError, RecursionError):  # damaged: there is nothing to take
            continue
        if isinstance(facts, dict) and facts.keys() == identity.keys():
            differing = {key for key in facts if facts[key] != identity[key]}
            found += [(moment, file.parent)] if differing == {"libraries"} else []
    return NetworkFeatures(max(found)[1]) if found else None


def _same(a: Tensor, b: Tensor) -> bool:
    import torch

    return torch.equal(a, b)


def _link(source: Path, target: Path) -> bool:
    """Have a part in a second folder; whether it was not there and could be."""
    with contextlib.suppress(OSError, UsageError):
        make_folder(target.parent)
        if not target.exists():
            link_or_copy(source, target)
            return True
    return False


def switched_off() -> bool:
    """Whether the environment says so."""
    return os.environ.get(VARIABLE, "").strip().lower() in ("0", "off", "no", "false")
