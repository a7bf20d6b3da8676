"""Goes through the batches: the tree of each, what it costs, and smaller ones when memory runs out."""

from __future__ import annotations

import gc
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from bench.errors import MissingError
from bench.generation.networks import ability
from bench.generation.recording import SECONDS_BETWEEN_PARTS, Recorder
from bench.generation.writing import Leaf, Writer, Written
from bench.runtime.devices import out_of_memory
from bench.runtime.progress import Progress
from bench.sampling.batches import Work, cut, whole
from bench.sampling.tree import Action, build_tree, needed
from bench.store.records import ImageRow, NormRow

if TYPE_CHECKING:
    from torch import Tensor

    from bench.generation.choosing import Choosing
    from bench.models.base import DiffusionModel
    from bench.sampling.loop import Batch, Norms

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Maker:
    """Makes the images of batches of work for several runs, and records them as they reach the disk."""

    model: DiffusionModel
    runs: Mapping[str, Recorder]
    actions: Mapping[str, tuple[Action, ...]]
    prompts: Mapping[str, str]
    size: int
    progress: Progress
    chosen: Mapping[str, Choosing] = field(default_factory=dict)
    seed: int = 0
    per_step: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)  # all, and unguided
    _executed: Counter[str] = field(default_factory=Counter)
    _unsaved: deque[tuple[Work, str]] = field(default_factory=deque)  # what ran out of memory, and what torch said
    _norms: dict[str, list[NormRow]] = field(default_factory=dict)  # of images on the disk, not yet recorded
    _untold: int = 0  # images on the disk that progress has not heard of
    _since: float = 0.0

    def make(self, work: Iterable[Work]) -> None:
        """Make all; whatever ends it, the batches that were written whole are recorded. Raises BenchError."""
        from bench.sampling.loop import evaluations_per_step, unguided_per_step

        self.seed = int(next(iter(self.runs.values())).plan.identity["seed"])
        per_step = {}
        for name in self.runs:
            self._use_steps(name)
            scheduler = self.model.new_scheduler()
            per_step[name] = (evaluations_per_step(scheduler), unguided_per_step(self.model, scheduler))
        self.per_step = per_step
        writer = Writer({name: run.store for name, run in self.runs.items()})
        self._since = time.perf_counter()
        try:
            waiting = deque(work)
            while waiting:
                # Pieces of a batch take its place at the head, so that images are recorded in the suite's order.
                waiting.extendleft(reversed(self._batch(waiting.popleft(), writer)))
                # Decoding runs beside the next batch and may run out of memory as well: nothing is finished, and no
                # smaller batch can be planned, before the writer has said what became of the last ones.
                if not waiting:
                    for written in writer.rest():
                        self._record(written)
                while self._unsaved:
                    waiting.extendleft(reversed(self._smaller(*self._unsaved.popleft())))
                self._tell()
        except BaseException:
            for written in writer.stop():
                self._take(written)
            raise
        finally:
            writer.close()
            self._tell()
            self._charge()
            self._record_norms()
        self._spend(next(iter(self.runs)))

    def _tell(self) -> None:
        """Tell progress, once a batch: methods that share one end their parts of it at uneven times."""
        if self._untold:
            self.progress.advance(self._untold)
        self._untold = 0

    def _batch(self, work: Work, writer: Writer) -> list[Work]:
        """Make one batch, or return it in smaller pieces if it is too large; what memory ran out for is unsaved."""
        if len(work.keys) > whole(self.size, work.group):
            return cut(work, self.size)
        finished: set[str] = set()
        try:
            self._run(work, writer, finished)
        except Exception as error:
            if not out_of_memory(error):
                raise
            rest = {name: keys for name, keys in work.save.items() if name not in finished}
            self._unsaved.append((replace(work, save=rest), _said(error)))
        self._charge()
        return []

    def _smaller(self, work: Work, failure: str) -> list[Work]:
        """The same work again, once there is room for it: without the networks not in use, else in smaller pieces."""
        _free(self.model)
        # Leaves of several batches may come back together: the size was halved for the first of them.
        if len(work.keys) <= whole(self.size, work.group) and not self.model.make_room():
            self._halve(work, failure)
        return cut(work, self.size)

    def _halve(self, work: Work, failure: str) -> None:
        size = len(work.keys)
        if whole(self.size, work.group) <= work.group:  # the last batch may have fewer, and run beside a larger one
            what, how = "one image", "use"
            if work.group > 1:
                name = self.runs[next(iter(work.save))].plan.method.name
                what = f"the {work.group} images of a prompt, which '{name}' makes together,"
                how = "ask for fewer with --samples (that is another run), use"
            raise MissingError(
                f"the model and {what} do not fit in the device's memory ({failure}): {how} a smaller resolution or "
                "dtype, or another device"
            )
        self.size = whole(max(1, size // 2), work.group)
        logger.warning(f"out of memory at batch size {size}; retrying with {self.size} (last bits may differ)")
        for run in self.runs.values():
            run.resized(self.size)

    def _run(self, work: Work, writer: Writer, finished: set[str]) -> None:
        from bench.sampling.loop import as_batch, run_tree

        batch = as_batch(self.model, self.seed, [(key[0], self.prompts[key[0]], key[1]) for key in work.keys])
        plain = {name: self.actions[name] for name in self.runs if name in work.save and name not in self.chosen}
        for steps in dict.fromkeys(len(actions) for actions in plain.values()):  # those of other steps share none
            together = {name: actions for name, actions in plain.items() if len(actions) == steps}
            self._use_steps(next(iter(together)))
            noted = replace(batch, norms={})
            for names, latents in run_tree(self.model, build_tree(together), noted, self._executed):
                norms = (noted.norms or {}).get(names[0])
                self._finish(work, names, self._decoding(names[0], latents), (writer, finished), norms)
        for name in work.save.keys() & self.chosen.keys():
            best = self._searching(name, batch, work)
            self._finish(work, (name,), partial(_same, best), (writer, finished))

    def _use_steps(self, name: str) -> None:
        """Have the model take the steps of a run."""
        own = next((run.plan for run in self.runs.values() if run.plan.method.steps is not None), None)
        if own is not None:
            ability(self.model, own, "use_steps")(len(self.actions[name]))

    def _searching(self, name: str, batch: Batch, work: Work) -> Tensor:
        """The images that a run's search keeps, uint8 [N, 3, H, W]."""
        from bench.sampling.loop import run_tree

        self._use_steps(name)

        def make(candidates: Batch) -> Tensor:
            tree = build_tree({name: self.actions[name]})
            ((_, latents),) = run_tree(self.model, tree, candidates, self._executed)
            return self._decoding(name, latents)()

        texts = [self.prompts[key[0]] for key in work.keys]
        return self.chosen[name].best(batch, texts, self.model.latents_shape, make)

    def _finish(
        self,
        work: Work,
        names: tuple[str, ...],
        pixels: Callable[[], Tensor],
        to: tuple[Writer, set[str]],
        norms: Norms | None = None,
    ) -> None:
        """Hand the images of a leaf to the writer."""
        writer, finished = to
        wanted = {name: [index for index, key in enumerate(work.keys) if key in work.save[name]] for name in names}
        # From here on the leaf is the writer's: if a later branch runs out of memory, this one is not made again.
        finished.update(names)
        count = sum(len(indices) for indices in wanted.values())
        leaf = Leaf(pixels, work.keys, wanted, self._spend(names[0], wanted) / count, norms)
        for written in writer.put(leaf):
            self._record(written)

    def _decoding(self, name: str, latents: Tensor) -> Callable[[], Tensor]:
        """Begin to decode with the autoencoder of the last network that ran; where both did, of the tuned one."""
        network = self.actions[name][-1][-1].network
        if getattr(self.model.networks.get(network), "vae", None) is None:
            return self.model.decoding(latents)
        return self.model.decoding(latents, network)

    def _spend(self, name: str, wanted: Mapping[str, list[int]] | None = None) -> float:
        """Charge the time since the last call to the runs that it was spent on; returns it, in seconds."""
        now = time.perf_counter()
        spent, self._since = now - self._since, now
        total = sum(len(indices) for indices in wanted.values()) if wanted else 1
        for one, indices in (wanted or {name: [0]}).items():
            self.runs[one].seconds += spent * len(indices) / total
        return spent

    def _record(self, written: Written) -> None:
        """Record what was written; raises what went wrong with it, unless memory ran out: that is made again."""
        self._take(written)
        if written.error is not None:
            if not out_of_memory(written.error):
                raise written.error
            group = max(self.runs[name].plan.group for name in written.leaf.wanted)
            self._unsaved.append((_rest(written, group), _said(written.error)))
        for name in written.saved:
            self.runs[name].record(SECONDS_BETWEEN_PARTS)
            if not self.runs[name].rows:
                self._record_norms(name)

    def _take(self, written: Written) -> None:
        """Count what was written, in whole batches: half a one would be made again in other company."""
        if written.error is not None and not out_of_memory(written.error):
            return
        for name, saved in written.saved.items():
            run = self.runs[name]
            for index, path, sha256 in saved:
                key = written.leaf.keys[index]
                row = ImageRow(key[0], self.prompts[key[0]], key[1], self.seed, path, sha256, written.leaf.seconds)
                run.rows.append(row)
            alone = needed({name: self.actions[name]}, *self.per_step[name])[name] * run.plan.method.candidates
            self._norms.setdefault(name, []).extend(_norm_rows(written.leaf, [index for index, *_ in saved]))
            run.counts["images_generated"] += len(saved)
            run.counts["network_evaluations_needed"] += alone * len(saved)
            self._untold += len(saved)

    def _record_norms(self, *names: str) -> None:
        """Record the ratios of norms of these runs (none: of all)."""
        for name in names or tuple(self._norms):
            self.runs[name].store.append_norms(self._norms.pop(name, ()))

    def _charge(self) -> None:
        """Evaluations that were executed, those of batches that ran out of memory included."""
        for name, count in self._executed.items():
            self.runs[name].counts["network_evaluations_executed"] += count
        self._executed.clear()
        peak = _device_peak(self.model)
        for run in self.runs.values():
            run.device_memory = max(run.device_memory, peak)


def _norm_rows(leaf: Leaf, indices: Sequence[int]) -> Iterator[NormRow]:
    if leaf.norms is None or not indices:
        return
    ratios = leaf.norms.ratios.cpu().tolist()  # the image is on the disk: the device has long been done with these
    for index in indices:
        for step, row in zip(leaf.norms.steps, ratios, strict=True):
            yield NormRow(*leaf.keys[index], step, row[index])


def _same(pixels: Tensor) -> Tensor:
    return pixels


def _rest(written: Written, group: int) -> Work:
    """What of a leaf did not reach the disk."""
    keys = tuple(written.leaf.keys)
    saved = {name: {index for index, *_ in images} for name, images in written.saved.items()}
    wanted = {
        name: frozenset(keys[index] for index in indices if index not in saved.get(name, ()))
        for name, indices in written.leaf.wanted.items()
    }
    return Work(keys, {name: left for name, left in wanted.items() if left}, group)


def _said(error: BaseException) -> str:
    """An error as text: its traceback would keep the tensors of the batch alive."""
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__


def _free(model: DiffusionModel) -> None:
    gc.collect()
    if model.device.type == "cuda":
        import torch

        torch.cuda.empty_cache()


def _device_peak(model: DiffusionModel) -> int:
    """The most memory used on the device so far, in bytes; 0 where it is the host's."""
    if model.device.type != "cuda":
        return 0
    import torch

    return int(torch.cuda.max_memory_allocated(model.device))
