"""Runs whose images a server makes: several requests at a time, one image each, recorded as they come.

An image is kept only after the server has said once more that it is the model that was asked first. What it refuses is
recorded with its reason (`bench.store.refusals`) and not asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.errors import BenchError, MissingError, UsageError
from bench.formatting import counted, one_line
from bench.generation.recording import SECONDS_BETWEEN_PARTS, Run
from bench.models.endpoint import Drawing, Served, open_served, served_name
from bench.models.endpoint_draw import NoPicture, draw
from bench.runtime import provenance
from bench.runtime.log import get_logger
from bench.runtime.progress import Progress
from bench.store.records import ImageRow
from bench.store.refusals import PROVENANCE, add_refusals
from bench.suite.plan import Item

if TYPE_CHECKING:
    from PIL.Image import Image

    from bench.generation.loaded import Settings
    from bench.suite.schema import Suite

logger = get_logger(__name__)

SEED_BITS = 31
"""All servers and what they are written in take seeds of this size; more bits are lost by some."""


def make_served(runs: Mapping[str, Run], suite: Suite, progress: Progress) -> None:
    """Make the missing images of runs, one run after another. Raises BenchError; what came until then is recorded."""
    spec = suite.model.endpoint
    assert spec is not None
    for run in runs.values():
        served = open_served(served_name(suite, run.plan.method), spec)
        try:
            _Maker(run, served, _drawing(run, suite), progress, spec.concurrency).make()
        finally:
            served.client.close()


def _drawing(run: Run, suite: Suite) -> Drawing:
    """What a run's pictures are asked for with: its steps, and its one side's guidance and negative prompt."""
    side, guidance = next(iter(run.plan.identity["guidance"].items()))
    negative = run.plan.identity.get("conditions", {}).get(side, {}).get("negative_prompt")
    return Drawing(suite.resolution, run.plan.method.steps or suite.sampler.steps, float(guidance), negative)


@dataclass(frozen=True, slots=True)
class _Made:
    """What came of one request."""

    item: Item
    seed: int
    picture: Image | NoPicture
    seconds: float


@dataclass(slots=True)
class _Maker:
    run: Run
    served: Served
    drawing: Drawing
    progress: Progress
    concurrency: int
    since: float = field(default_factory=time.perf_counter)
    refused: list[str] = field(default_factory=list)

    def make(self) -> None:
        """Make and record what is missing, and say what was refused."""
        self._identify()
        wanted = self.run.missing | self.run.lost
        items = [item for item in self.run.plan.items if item.key in wanted]
        pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="endpoint")
        try:
            for made in self._as_they_come(pool, items):
                self._take(made)
            self._compare_numerics()
        finally:
            self.served.client.close()
            pool.shutdown(cancel_futures=True)
        if self.refused:
            why = f"{counted(len(self.refused), 'image')} not made, so that their values are unscored"
            logger.warning(one_line(f"{self.run.plan.name}: {why}, for instance: {self.refused[0]}"))

    def _identify(self) -> None:
        """Find out who makes the images, and keep it in the manifest; what an earlier call found holds for this one."""
        self.served.identify()
        identity, manifest = self.run.plan.identity, self.run.manifest
        if self.served.digest not in (identity["model"], identity["tuned"]):
            raise UsageError(f"{self.served.where} changed since the run was planned: run the same command again")
        known = manifest.provenance.get(PROVENANCE, {})
        if known.get("digest") == self.served.digest:
            manifest.provenance[PROVENANCE] = known | {"concurrency": max(self.concurrency, known["concurrency"])}
            self._compare_numerics()
        else:
            self._probe()
        self.run.store.write_manifest(manifest)

    def _probe(self) -> None:
        from bench.models.endpoint_probe import probe

        found = probe(self.served, self.drawing).to_dict()
        manifest = self.run.manifest
        manifest.provenance = manifest.provenance or provenance.collect("endpoint")
        manifest.provenance[PROVENANCE] = {
            "digest": self.served.digest,
            "url": self.served.client.url,
            "server": self.served.facts,
            "concurrency": self.concurrency,
            **found,
        }
        alone, in_batch = (("yes" if found["deterministic"][key] else "no") for key in ("alone", "in_batch"))
        logger.info(f"{self.served.where}: deterministic: alone {alone}, in batch {in_batch}")

    def _compare_numerics(self) -> None:
        """Note where a server that draws alike alone does not draw the first picture of its probe any more."""
        from bench.models.endpoint_probe import known_again

        facts = self.run.manifest.provenance[PROVENANCE]
        if not facts["deterministic"]["alone"] or known_again(self.served, self.drawing) == facts["pixels"]:
            return
        if not facts.get("numerics_changed"):
            self.run.manifest.provenance[PROVENANCE] = facts | {"numerics_changed": True}
            self.run.store.write_manifest(self.run.manifest)
        logger.warning(
            f"{self.run.plan.name}: {self.served.where} says that it is the same, but draws another picture than "
            "before for the same request (other hardware, or other weights under this name): its images are of two "
            "makers"
        )

    def _as_they_come(self, pool: ThreadPoolExecutor, items: Sequence[Item]) -> Iterator[_Made]:
        """The results in the order in which they come; no more are waiting than keep the requests going."""
        waiting: set[Future[_Made]] = set()
        for item in items:
            waiting.add(pool.submit(self._draw, item))
            if len(waiting) >= 2 * self.concurrency:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)

    def _draw(self, item: Item) -> _Made:
        began = time.perf_counter()
        seed = seed_of(int(self.run.plan.identity["seed"]), item.prompt_id, item.sample)
        picture = draw(self.served, item.prompt, seed, self.drawing)
        self.served.check_same()
        return _Made(item, seed, picture, time.perf_counter() - began)

    def _take(self, made: _Made) -> None:
        """Save an image, or the reason why it is not there."""
        run, item = self.run, made.item
        if isinstance(made.picture, NoPicture) and not made.picture.refused:
            self._check_health(made.picture.reason)
            made = self._draw(item)  # the server may have been out for a while: a reason is for good
        if isinstance(made.picture, NoPicture):
            add_refusals(run.store.path, {item.key: made.picture.reason})
            self.refused.append(made.picture.reason)
        else:
            path, sha256 = run.store.save_image(item.prompt_id, item.sample, made.picture)
            run.rows.append(ImageRow(item.prompt_id, item.prompt, item.sample, made.seed, path, sha256, made.seconds))
            run.manifest.counts["images_generated"] += 1
        now = time.perf_counter()
        run.seconds, self.since = run.seconds + now - self.since, now
        run.record(SECONDS_BETWEEN_PARTS)
        self.progress.advance(1)

    def _check_health(self, reason: str) -> None:
        """Raise MissingError where the server makes no picture at all: then the fault is not this prompt's."""
        from bench.models.endpoint_probe import known_again

        try:
            known_again(self.served, self.drawing)
        except BenchError as error:
            raise MissingError(
                f"{self.served.where} makes no images any more ({reason}; then, for a harmless prompt: {error}). What "
                "is finished is kept: mend the server and run the same command again."
            ) from None


def seed_of(seed: int, prompt_id: str, sample: int) -> int:
    """The seed that the server gets for one picture: 31 bits of what local noise starts from.

    >>> seed_of(42, "p1", 0) == seed_of(42, "p1", 0) != seed_of(42, "p1", 1)
    True
    """
    from bench.sampling.noise import noise_seed

    return noise_seed(seed, prompt_id, sample, 0) >> (63 - SEED_BITS)


def check_no_settings(settings: Settings, suite: Suite) -> None:
    """UsageError for settings of a model that is run here."""
    here = {"--batch-size": settings.batch_size is not None, "--compile": suite.compile, "--fuse-lora": suite.fuse_lora}
    for option, given in here.items():
        if given:
            raise UsageError(f"{option} has no meaning for an endpoint: see endpoint.concurrency, and omit it")
