"""Decoding and writing beside the next batch: one thread decodes, a few write, and little is kept waiting.

Only the caller's thread records images, and only those whose files are on the disk: a kill at any moment leaves no row
without its image.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.sampling.batches import Key

if TYPE_CHECKING:
    from bench.sampling.loop import Norms
    from bench.store.run_store import RunStore

WAITING = 2
"""Batches of images that may wait for the writer; more and the next batch waits for it."""
WRITERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Leaf:
    """Finished latents: `pixels` waits for their images [N, 3, H, W], `wanted` says which a run shall have.

    `seconds` is the time that one image took; `norms` are its ratios of norms, where both networks ran in a step.
    """

    pixels: Callable[[], Any]
    keys: Sequence[Key]
    wanted: Mapping[str, Sequence[int]]
    seconds: float
    norms: Norms | None = None


@dataclass(slots=True)
class Written:
    """What is on the disk now: for each run (place in the leaf, path in the run, sha256), and what went wrong."""

    leaf: Leaf
    saved: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)
    error: BaseException | None = None


class Writer:
    """Takes leaves and hands them back written, in the order in which they came."""

    def __init__(self, stores: Mapping[str, RunStore]) -> None:
        self._stores = stores
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._savers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")
        self._pending: deque[Future[Written]] = deque()
        self._stopped = False

    def put(self, leaf: Leaf) -> Iterator[Written]:
        """Take a leaf; yields what was finished meanwhile, and waits if too much is waiting."""
        self._pending.append(self._decoder.submit(self._finish, leaf))
        while self._pending and (len(self._pending) > WAITING or self._pending[0].done()):
            yield self._pending.popleft().result()

    def rest(self) -> Iterator[Written]:
        """Wait for all that is left."""
        while self._pending:
            yield self._pending.popleft().result()

    def stop(self) -> Iterator[Written]:
        """Begin nothing new, wait for what is being written, and yield what is on the disk."""
        self._stopped = True
        for future in self._pending:
            future.cancel()
        while self._pending:
            future = self._pending.popleft()
            if not future.cancelled():
                yield future.result()

    def close(self) -> None:
        """End the threads."""
        self._stopped = True
        self._decoder.shutdown(cancel_futures=True)
        self._savers.shutdown(cancel_futures=True)

    def _finish(self, leaf: Leaf) -> Written:
        """Decode and write; an error is handed back with what was written before it."""
        done = Written(leaf)
        waiting: list[tuple[str, int, Future[tuple[str, str]]]] = []
        try:
            if not self._stopped:
                pixels = leaf.pixels().numpy()
                for name, indices in leaf.wanted.items():
                    save = self._stores[name].save_image
                    waiting += [
                        (name, index, self._savers.submit(save, *leaf.keys[index], pixels[index])) for index in indices
                    ]
        except BaseException as error:
            done.error = error
        for name, index, future in waiting:
            try:
                done.saved.setdefault(name, []).append((index, *future.result()))
            except BaseException as error:
                done.error = done.error or error
        return done
