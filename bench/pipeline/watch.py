"""`bench watch`: the suite on every new checkpoint of a folder, and where the path through quality and diversity bends.

Each evaluation is an ordinary run in a results folder of its own (`trajectory.py`), so a watch that is started again
makes what is missing, and `bench report` draws the same path.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.analysis.tradeoff.bend import bend_of
from bench.analysis.tradeoff.joint import joint_bootstrap
from bench.errors import BenchError, UsageError
from bench.formatting import aligned
from bench.store.run_store import RunStore
from bench.store.runs import read_run
from bench.suite.schema import Suite
from bench.training.checkpoint import read_facts

logger = logging.getLogger(__name__)

_NUMBERED = re.compile(r"(?P<stem>.*?)[-_]?(?:checkpoint|step|update|iteration|iter|epoch)s?[-_]?(?P<number>\d+)")
SETTLED = 10.0  # seconds without a change, after which a folder is taken for written

LONGEST_WRITE = 3 * SETTLED  # --once waits so long for a folder in which something changes


@dataclass(frozen=True, slots=True)
class Course:
    """What is told of a path: the metrics of its quality and its diversity."""

    quality: str
    diversity: str

    @classmethod
    def of(cls, suite: Suite, quality: str | None, diversity: str | None) -> Course:
        """The metrics that are asked for, else the suite's first of images and first of groups.

        Raises UsageError for one that the suite has not, or is of another kind.
        """
        import metrics

        found = []
        for kind, option, wanted in (("image", "--quality", quality), ("group", "--diversity", diversity)):
            known = [name for name in suite.metrics if metrics.info(name).kind.value == kind]
            if not known:
                raise UsageError(f"suite '{suite.name}' has no {kind} metric, which {option} needs: add one to it")
            if wanted is not None and wanted not in known:
                raise UsageError(
                    f"{option} {wanted} is not one of the {kind} metrics of suite '{suite.name}': choose from "
                    f"{', '.join(known)}"
                )
            found.append(wanted or known[0])
        return cls(found[0], found[1])


def find_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(updates, folder) of the checkpoints in a folder, or beside it as `bench train --out FOLDER` leaves them.

    Numbered folders: `checkpoint-500`, `NAME-step50`, `epoch_3`. A finished training of `bench train` is its own last
    checkpoint. Raises UsageError if there are those of several trainings.
    """
    found = _numbered(folder.iterdir()) if folder.is_dir() else {}
    if not found:
        beside = [path for path in folder.parent.glob(f"{folder.name}-step*") if path.is_dir()]
        found = _numbered(beside)
    stems = sorted({stem for stem, _ in found})
    if len(stems) > 1:
        names = ", ".join(stem or "checkpoint" for stem in stems[:4])
        raise UsageError(f"{folder} contains checkpoints of several training runs ({names}): give the folder of one")
    steps = {number: path for (_, number), path in found.items()}
    facts = read_facts(folder)
    if isinstance(facts, dict) and isinstance(facts.get("recipe"), dict) and "step" not in facts:
        steps[int(facts["recipe"].get("steps", 0))] = folder
    return sorted(steps.items())


def settled(checkpoint: Path, now: float) -> bool:
    """Whether a checkpoint is written whole: those of `bench train` are, others when nothing changes any more."""
    if read_facts(checkpoint) is not None:
        return True
    times = [path.stat().st_mtime for path in checkpoint.rglob("*") if path.is_file()]
    return bool(times) and abs(now - max(times)) >= SETTLED  # abs: another machine's clock may be ahead


def watch(
    folder: Path,
    course: Course,
    evaluate: Callable[[int, Path | None], RunStore],
    tell: Callable[[str], None],
    *,
    once: bool = False,
    timeout: float | None = None,
    interval: float = 15.0,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> list[int]:
    """Evaluate each checkpoint once it exists, report the path after each; returns the updates that failed.

    `once` ends when all that are there are judged, `timeout` after so many seconds without a new one; a finished
    training of `bench train` ends it too. Raises UsageError for a folder that is not there.
    """
    runs = {0: evaluate(0, None)}
    failed: list[int] = []
    last = clock()
    while True:
        new = [(step, one) for step, one in find_checkpoints(folder) if step not in runs and step not in failed]
        ready = [(step, one) for step, one in new if settled(one, clock())]
        for step, one in ready:
            try:
                runs[step] = evaluate(step, one)
            except BenchError as error:
                failed.append(step)
                logger.warning(f"{one} cannot be judged: {error}")
            else:
                tell(path_text(runs, course))
            last = clock()
            if one == folder:  # a finished training of bench
                return failed
        if not ready:
            if once and (not new or clock() - last >= LONGEST_WRITE):
                for _, one in new:
                    logger.warning(f"{one} is empty or still being written; skipped")
                if len(runs) == 1 and not failed:
                    raise UsageError(f"{folder} contains no checkpoints (checkpoint-500, NAME-step50, epoch_3)")
                return failed
            if timeout is not None and clock() - last >= timeout:
                return failed
            sleep(min(interval, SETTLED) if new else interval)


def path_text(runs: Mapping[int, RunStore], course: Course) -> str:
    """The path so far (updates -> run, 0 the base) as differences to the base model, and where it bends."""
    steps = sorted(runs)
    names = ["base" if step == 0 else str(step) for step in steps]
    joint = joint_bootstrap([read_run(runs[step]) for step in steps], names)
    rows = []
    for name in names[1:]:
        cells = [joint.difference("base", name, metric) for metric in (course.quality, course.diversity)]
        rows.append([name, *(f"{cell.mean:+.3f} [{cell.low:+.3f}, {cell.high:+.3f}]" for cell in cells)])
    table = aligned(["update", f"{course.quality} - base", f"{course.diversity} - base"], rows)
    bend = bend_of(joint, names, course.quality, course.diversity)
    if bend.method is None:
        return f"{table}no bend: {bend.reason}."
    return (
        f"{table}the path bends after update {bend.method} ({bend.share:.0%} of the resamples agree): from there on "
        f"{course.quality} costs more {course.diversity} than before."
    )


def _numbered(folders: Iterable[Path]) -> dict[tuple[str, int], Path]:
    found = {}
    for path in folders:
        match = _NUMBERED.fullmatch(path.name)
        if match is not None and path.is_dir():
            found[match["stem"], int(match["number"])] = path
    return found
