"""Which runs are meant: RUN arguments and folders -> runs, with those left out and why."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import BenchError, UsageError, unknown
from bench.formatting import one_line
from bench.store.outdated import Doubt, DoubtsOf, marked
from bench.store.run_store import RunStore, find_runs
from bench.store.runs import Run, read_run
from bench.store.shown import shown_methods

logger = logging.getLogger(__name__)

RunSource = str | Path | RunStore | Run
"""A run folder, a suite's or a results folder; the name of a run in the results folder; or an opened run."""
RunSources = RunSource | Iterable[RunSource]
"""One or several of these."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run that is not in a table, and why in one clause."""

    run: str
    why: str
    method: str = ""
    suite: str = ""
    finished: bool = True
    made: tuple[str, int] = ("", 0)  # of an unfinished run, when it was begun: `made_at`
    given: str = ""  # the name that it was given with --name


def open_runs(
    source: RunSources,
    results: Path | str = Path("results"),
    suite: str | None = None,
    doubts_of: DoubtsOf = marked,
    *,
    unfinished_too: bool = False,
) -> tuple[list[Run], list[LeftOut], bool]:
    """The runs behind `source`; names are looked up in `results`. With `suite`, only those of that suite.

    Returns the finished runs, those left out (not finished, outdated), and whether every run was named by itself (then
    being not comparable is an error; runs that merely lie in one folder are sorted into comparable groups). A name
    means the newest finished run; `unfinished_too`: the newest, which then may be among those left out. UsageError:
    nothing there, or a named run is not finished or outdated. `doubts_of` says which are outdated; a run of which that
    is not known has the doubt (`Run.doubt`).
    """
    sources = [_stores(one, Path(results), suite, not unfinished_too) for one in _listed(source)]
    stores = [store for found, _ in sources for one in found if (store := _store_of(one)) is not None]
    doubts = doubts_of(stores)
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    for one_source, (found, named) in zip(_listed(source), sources, strict=True):
        begun_too = unfinished_too and isinstance(one_source, str)
        for one in found:
            store = _store_of(one)
            opened = _opened(one, None if store is None else doubts.get(store.path), named, begun_too)
            runs += [opened] if isinstance(opened, Run) else []
            left_out += [opened] if isinstance(opened, LeftOut) else []
    unique = {(run.suite, run.path, run.name): run for run in runs}
    all_named = all(named for _, named in sources)
    if not unique and not (all_named and left_out):
        raise _none_open(_listed(source), left_out, suite)
    return list(unique.values()), left_out, all_named


def _none_open(sources: Sequence[RunSource], left_out: Sequence[LeftOut], suite: str | None) -> UsageError:
    where = ", ".join(str(getattr(one, "path", one)) for one in sources) or "what was given"
    of = "" if suite is None else f" of suite {suite}"
    outdated = [omitted for omitted in left_out if omitted.finished]
    if outdated:
        return UsageError(f"no run{of} in {where} may be compared: {outdated[0].run} is {outdated[0].why}")
    if begun := [omitted.run for omitted in left_out]:
        shown = ", ".join(begun[:3]) + (f" and {len(begun) - 3} more" if len(begun) > 3 else "")
        return UsageError(
            f"no finished runs{of} in {where}: {shown} {'is' if len(begun) == 1 else 'are'} not finished yet: let the "
            "`bench run` that began them end, or give it again"
        )
    return UsageError(f"no finished runs{of} in {where}: create some with `bench run --method base --method refl`")


def _store_of(run: RunStore | Run) -> RunStore | None:
    return run.store if isinstance(run, Run) else run


def _opened(one: RunStore | Run, doubt: Doubt | None, named: bool, begun_too: bool) -> Run | LeftOut:
    """A run, with its doubt; or why it is left out, which is an error of one that was named by itself.

    `begun_too`: it is none that it is not finished.
    """
    store = _store_of(one)
    outdated = doubt is not None and doubt.certain
    if store is None or (isinstance(one, Run) and not outdated):
        assert isinstance(one, Run)
        return one
    if outdated and named:
        raise UsageError(f"run {store.path} is outdated: {doubt.why if doubt else ''}")
    its = store.manifest()
    if outdated:
        why = f"outdated: {doubt.why if doubt else ''}"
        return LeftOut(store.name, why, its.method, its.suite, True, made_at(store), its.name)
    if its.complete:
        run = read_run(store)
        return run if doubt is None else replace(run, doubt=doubt.why)
    if named and not begun_too:
        raise UsageError(f"run {store.path} is not finished: finish it with the `bench run` command that began it")
    return LeftOut(store.name, "not finished", its.method, its.suite, False, made_at(store), its.name)


def made_at(store: RunStore | None) -> tuple[str, int]:
    """When a run was begun, by its manifest: what makes one run of a method newer than another."""
    if store is None:
        return "", 0
    return str(store.manifest().provenance.get("created") or ""), (store.path / "manifest.json").stat().st_mtime_ns


def run_stores(source: RunSources, results: Path, suite: str | None = None) -> list[RunStore]:
    """The run folders behind `source`, finished or not; names are looked up in `results`. UsageError: none there."""
    found: list[RunStore] = []
    for one in _listed(source):
        for store in _stores(one, results, suite)[0]:
            found.append(RunStore(store.path) if isinstance(store, Run) else store)
    return list({store.path.absolute(): store for store in found}.values())


def _listed(source: RunSources) -> list[RunSource]:
    return [source] if isinstance(source, str | Path | RunStore | Run) else list(source)


def _stores(
    source: RunSource, results: Path, suite: str | None = None, finished: bool = True
) -> tuple[list[RunStore | Run], bool]:
    """What one source means, and whether it names a run by itself (a folder of several does not).

    A bare word is a run's name first and a folder second: what lies in the working directory hides no run.
    """
    if isinstance(source, RunStore | Run):
        return [source], True
    if isinstance(source, str) and Path(source).name == source:
        fitting = matching(source, _with_suite(find_runs(results), suite))
        if fitting or not Path(source).is_dir():
            if fitting and Path(source).is_dir():
                logger.info(f"'{source}' is the run of that name; the folder is ./{source}")
            return [RunStore(path) for path in select([source], results, suite, finished=finished)], True
    path = Path(source)
    if not path.is_dir():
        raise UsageError(f"there is no results folder or run {path}")
    return list(_with_suite(find_runs(path), suite)), RunStore(path).exists()


def _with_suite(stores: Sequence[RunStore], suite: str | None) -> list[RunStore]:
    return [store for store in stores if suite is None or store.suite == suite]


def display_names(runs: Sequence[Run]) -> list[str]:
    """What is printed for each run: the method, or the whole run name where a method occurs more than once.

    Runs of one name in several folders (before and after a change) also have the part of their path that differs, for
    instance "refl@1a2b3c4d (old)".
    """
    methods, names = shown_methods(runs), [run.name for run in runs]
    given = [run.given for run in runs]
    shown = [
        mine
        if mine and given.count(mine) == 1 and mine not in methods
        else method
        if methods.count(method) == 1
        else name
        for mine, method, name in zip(given, methods, names, strict=True)
    ]
    for name in {name for name in names if names.count(name) > 1}:
        indices = [index for index, one in enumerate(names) if one == name]
        parts = _differing([runs[index].path for index in indices])
        for index, part in zip(indices, parts, strict=True):
            shown[index] = f"{name} ({part})" if part else name
    return shown


def _differing(paths: Sequence[Path]) -> list[str]:
    """The middle of each path, without what all begin and end with; "." for none, "" where all are one path."""
    parts = [path.absolute().parts for path in paths]
    if len(set(parts)) == 1:
        return [""] * len(parts)
    start = _common(parts)
    rest = [part[start:] for part in parts]
    end = _common([one[::-1] for one in rest])
    return ["/".join(one[: len(one) - end]) or "." for one in rest]


def _common(parts: Sequence[Sequence[str]]) -> int:
    """How many parts all begin with."""
    return next((i for i, level in enumerate(zip(*parts, strict=False)) if len(set(level)) > 1), min(map(len, parts)))


def select(names: Sequence[str], results: Path, suite: str | None = None, *, finished: bool = True) -> list[Path]:
    """Folders of the named runs: a run's id, else the name that it was given, else a method; else a path.

    Of several runs that fit, the newest finished one is meant (with `finished` False the newest), and that is said.
    UsageError when a name fits none (with a suggestion).
    """
    stores: list[RunStore] | None = None
    chosen: list[Path] = []
    for name in names:
        if Path(name).is_dir() and Path(name).name != name:
            chosen.append(Path(name))
            continue
        stores = _with_suite(find_runs(results), suite) if stores is None else stores
        fitting = matching(name, stores)
        if not fitting and Path(name).is_dir():
            chosen.append(Path(name))
            continue
        if not stores:
            of = "" if suite is None else f" of suite '{suite}'"
            raise UsageError(f"unknown run '{name}': there are no runs{of} in {results}; create some with `bench run`")
        if not fitting:
            raise unknown("run", name, {one for store in stores for one in _names_of(store)})
        chosen.append(_newest(name, fitting, finished).path)
    return chosen


def matching(name: str, stores: Sequence[RunStore]) -> list[RunStore]:
    """The runs whose id is `name`; else those that were given that name; else those of that method."""
    by_id = [store for store in stores if store.name == name]
    if by_id:
        return by_id
    facts = {store.path: _facts(store) for store in stores}
    given = [store for store in stores if facts[store.path][0] == name]
    return given or [store for store in stores if name in (store.name.partition("@")[0], facts[store.path][1])]


def _facts(store: RunStore) -> tuple[str, str]:
    """The given name and the method; nothing of a manifest that cannot be read, which is told when it is opened."""
    try:
        manifest = store.manifest()
    except BenchError:
        return "", ""
    return manifest.name, manifest.method


def _names_of(store: RunStore) -> set[str]:
    return {one for one in (store.name, store.name.partition("@")[0], *_facts(store)) if one}


def _newest(name: str, fitting: Sequence[RunStore], finished: bool) -> RunStore:
    """The newest of the runs that fit a name, finished if any is."""
    if len(fitting) == 1:
        return fitting[0]
    done = [store for store in fitting if store.manifest().complete] if finished else []
    among = done or list(fitting)
    newest = max(among, key=made_at)
    kind = "finished runs" if done else "runs"
    suites = sorted({store.suite for store in among})
    several = f" (of the suites {', '.join(suites)}; --suite chooses)" if len(suites) > 1 else ""
    if len(among) > 1:
        logger.info(
            one_line(f"'{name}' is {newest.name} of suite {newest.suite}, the newest of {len(among)} {kind}{several}")
        )
    return newest
