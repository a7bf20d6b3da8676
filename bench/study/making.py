"""Runs -> a study's folder: which pictures are compared, their blinded copies, and a balanced plan."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from bench.analysis.comparable import require_comparable
from bench.errors import UsageError
from bench.formatting import counted, one_line
from bench.runtime.log import get_logger
from bench.runtime.progress import Progress, Silent
from bench.store.atomic import make_folder, sha256_file
from bench.store.run_store import RunStore
from bench.store.runs import Run
from bench.store.select import RunSources, display_names, open_runs
from bench.study.blinding import Copies, Source, sources_of
from bench.study.datasheet import write_datasheet
from bench.study.drawing import design_of
from bench.study.folder import (
    CONSENT,
    INSTRUCTIONS,
    QUESTIONS,
    SCHEMA_VERSION,
    TASKS,
    Shown,
    Study,
    StudyItem,
    open_study,
    write_study,
)
from bench.study.keys import write_key
from bench.study.pictures import GRID_MOST
from bench.study.plan import Extras, assign

logger = get_logger(__name__)
PRACTICE, CHECKS, FEWEST_CHECKS = 2, 4, 2
"""Practice items of a rater, per task; checks in all, but not fewer than this per task."""
REPEAT_SHARE = 0.1
CHECK_POOL = 8
SETS = {"both": ("preference", "diversity"), "all": TASKS}
MOST_RATERS = 10_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a study is: real items a rater, votes an item, raters (0: what the votes need), prompts (0: all)."""

    per_rater: int
    votes: int
    raters: int
    prompts: int


def make(
    runs: RunSources,
    out: Path | str,
    *,
    task: str = "preference",
    per_rater: int = 30,
    votes: int = 3,
    raters: int | None = None,
    prompts: int | None = None,
    adaptive: bool = False,
    seed: int | None = None,
    questions: Mapping[str, str] | None = None,
    consent: str | None = None,
    results: Path | str = Path("results"),
    progress: Progress | None = None,
) -> Study:
    """Make a study of finished, comparable runs (two or more methods, same prompts and noise) in the new folder `out`.

    `task` is preference (one picture of each method), diversity (all pictures of a prompt as a grid), alignment, both
    (the first two) or all. Each item gets `votes` answers, each rater `per_rater` items beside practice, checks and
    repeats; `raters` asks for more links than that needs. `adaptive`: what a rater is shown is drawn when the rater
    begins, by chances that go to the pairs that are undecided (`bench.study.adaptive`); `votes` is then the mean of
    all items. Without `seed` one is drawn, so that nobody can work out the sides; with the same seed the plan and the
    pictures are the same.

    UsageError: fewer than two runs, one that is not finished, no prompt that all methods have pictures of, or a folder
    that is not empty. NotComparableError: runs that must not stand side by side.
    """
    tasks = _tasks(task)
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} already exists and is not empty: choose another --out")
    opened, left_out, _ = open_runs(runs, results)
    for one in left_out:
        logger.warning(f"{one.run} is left out of the study: {one.why}")
    methods = dict(zip(display_names(opened), opened, strict=True))
    _check(opened, methods, tasks)
    sizes = _sizes(per_rater, votes, raters, prompts)
    asked = _questions(questions or {}, tasks)
    number = secrets.randbits(53) if seed is None else seed
    rng = Random(f"{number}:items")
    notes: list[str] = []
    sources = sources_of(methods, notes)
    items = _real_items(methods, tasks, sources, sizes, rng, notes)
    copies = Copies(out, sources, number, progress or Silent())
    make_folder(out)
    items, others, repeats = _all_items(items, copies, rng)
    checks = max(FEWEST_CHECKS, -(-CHECKS // len(tasks)))
    extras = Extras(PRACTICE, checks, max(1, round(REPEAT_SHARE * sizes.per_rater)))
    real = [item for item in items if item.kind == "real"]
    names, count = _slots(len(real), sizes, notes)
    design = None
    if adaptive:
        design, count = design_of(items, list(methods), tasks, extras, (len(names), count), notes)
        plan: dict[str, tuple[Shown, ...]] = dict.fromkeys(names, ())
    else:
        plan = assign(real, others, repeats, names, count, extras, Random(f"{number}:plan"))
        shown = {one.item for order in plan.values() for one in order}
        items = [item for item in items if item.item in shown]
    copies.write(items)
    for note in notes:
        logger.warning(note)
    manifest = {
        **_described(methods, tasks, number, seed is None),
        "questions": {one: asked[one] for one in tasks},
        "consent": consent or CONSENT,
        "per_rater": count,
        "votes": sizes.votes,
        "raters": len(plan),
        "extras": dataclasses.asdict(extras),
        **({} if design is None else {"adaptive": design}),
        "size": list(sources.size),
        "notes": notes,
    }
    write_key(out)
    write_study(out, manifest, items, plan)
    study = open_study(out)
    write_datasheet(study)
    return study


def _described(methods: Mapping[str, Run], tasks: Sequence[str], seed: int, drawn: bool) -> dict[str, Any]:
    """The manifest's part that does not depend on the plan."""
    return {
        "schema_version": SCHEMA_VERSION,
        "study": secrets.token_hex(12),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "suite": next(iter(methods.values())).suite,
        "tasks": list(tasks),
        "methods": [_facts(name, run) for name, run in methods.items()],
        "instructions": INSTRUCTIONS,
        "seed": seed,
        "seed_drawn": drawn,
    }


def _tasks(task: str) -> tuple[str, ...]:
    known = (*TASKS, *SETS)
    if task not in known:
        raise UsageError(f"--task {task} must be one of {', '.join(known)}")
    return SETS.get(task, (task,))


def _check(runs: Sequence[Run], methods: Mapping[str, Run], tasks: Sequence[str]) -> None:
    if len(methods) < 2:
        raise UsageError(f"a study compares at least 2 runs, and {counted(len(runs), 'run')} was given")
    # How metrics were computed does not matter to people, who see pictures only.
    require_comparable([dataclasses.replace(run, metrics={}) for run in runs])
    if "diversity" in tasks and runs[0].samples < 2:
        raise UsageError("the task diversity needs at least 2 images per prompt, and these runs have 1")


def _sizes(per_rater: int, votes: int, raters: int | None, prompts: int | None) -> Sizes:
    for name, value in (("--per-rater", per_rater), ("--votes", votes), ("--raters", raters), ("--prompts", prompts)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value} must be at least 1")
    return Sizes(per_rater, votes, raters or 0, prompts or 0)


def _questions(given: Mapping[str, str], tasks: Sequence[str]) -> dict[str, str]:
    for name, text in given.items():
        if name not in tasks:
            raise UsageError(f"--question {name}=...: the tasks of this study are {', '.join(tasks)}")
        if not text.strip():
            raise UsageError(f"--question {name}= has no text")
    return {**QUESTIONS, **{name: one_line(text) for name, text in given.items()}}


def _real_items(
    methods: Mapping[str, Run],
    tasks: Sequence[str],
    sources: Source,
    sizes: Sizes,
    rng: Random,
    notes: list[str],
) -> list[StudyItem]:
    """An item for every task, pair of methods and prompt; of one picture each, both have the same sample."""
    run = next(iter(methods.values()))
    usable = [(key, text) for key, text in run.prompts if sources.complete(key)]
    if not usable:
        raise UsageError("no prompt has all its images in every run: repair them with the `bench run` that made them")
    if sizes.prompts > len(usable):
        raise UsageError(f"--prompts {sizes.prompts}: only {counted(len(usable), 'prompt')} can be used")
    chosen = sorted(rng.sample(range(len(usable)), sizes.prompts or len(usable)))
    items = []
    for task in tasks:
        for a, b in itertools.combinations(methods, 2):
            start = rng.randrange(run.samples)
            for index in chosen:
                key, text = usable[index]
                sample = None if task == "diversity" else (start + index) % run.samples
                items.append(StudyItem("", task, "real", key, text, sample, a, b, "", ""))
    if "diversity" in tasks and run.samples > GRID_MOST:
        notes.append(f"sets show the first {GRID_MOST} of {run.samples} images of a prompt")
    dropped = len(run.prompts) - len(usable)
    if dropped:
        notes.append(f"{counted(dropped, 'prompt')} left out, since some method lacks an image of it that can be read")
    return items


def _all_items(
    real: list[StudyItem], copies: Copies, rng: Random
) -> tuple[list[StudyItem], dict[tuple[str, str], list[StudyItem]], dict[str, StudyItem]]:
    """Real items with their ids and pictures, those for practice and checks by task, and the repeats by item."""
    named = [copies.named(item) for item in real]
    others: dict[tuple[str, str], list[StudyItem]] = {}
    for task in dict.fromkeys(item.task for item in real):
        pool = [item for item in named if item.task == task]
        others[task, "check"] = copies.checks(task, pool, CHECK_POOL, rng)
        plain = rng.choice(pool)
        easy = copies.checks(task, [rng.choice(pool)], 1, rng)
        practice = [*easy, plain]
        others[task, "practice"] = [
            copies.named(dataclasses.replace(item, kind="practice", check=None)) for item in practice
        ]
    repeats = {
        item.item: copies.named(dataclasses.replace(item, kind="repeat", repeated_of=item.item)) for item in named
    }
    extra = [item for pool in others.values() for item in pool]
    return [*named, *extra, *repeats.values()], others, repeats


def _slots(n_items: int, sizes: Sizes, notes: list[str]) -> tuple[list[str], int]:
    """Names of the raters, and how many real items each gets."""
    count = min(sizes.per_rater, n_items)
    if count < sizes.per_rater:
        notes.append(f"{count} items a rater instead of {sizes.per_rater}: there are no more, and none is asked twice")
    needed = -(-n_items * sizes.votes // count)
    if 0 < sizes.raters < needed:
        notes.append(
            f"{counted(sizes.raters, 'rater')} give {sizes.raters * count / n_items:.1f} votes an item instead of "
            f"{sizes.votes}: {needed} are needed for that"
        )
    raters = sizes.raters or needed
    if raters > MOST_RATERS:
        raise UsageError(
            f"{n_items} items with {sizes.votes} votes each need {raters} raters, more than {MOST_RATERS}: give fewer "
            "--prompts or --votes, or a larger --per-rater"
        )
    width = max(4, len(str(raters)))
    return [f"r{number:0{width}d}" for number in range(1, raters + 1)], count


def _digest(run: Run) -> str:
    return sha256_file(run.path / "manifest.json") if isinstance(run.store, RunStore) else run.name


def _facts(name: str, run: Run) -> dict[str, Any]:
    return {"name": name, "run": run.name, "path": str(run.path), "manifest_sha256": _digest(run), "suite": run.suite}
