"""Which runs are meant: RUN arguments and folders -> runs, with those left out and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import UsageError, unknown
from bench.store.outdated import Doubt, DoubtsOf, marked, why_outdated
from bench.store.run_store import RunStore, find_runs
from bench.store.runs import Run, read_run
from bench.store.trained import checkpoint_of

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


def open_runs(
    source: RunSources, results: Path | str = Path("results"), doubts_of: DoubtsOf = marked
) -> tuple[list[Run], list[LeftOut], bool]:
    """The runs behind `source`; names are looked up in `results`.

    Returns the finished runs, those left out (not finished, outdated), and whether every run was named by itself (then
    being not comparable is an error; runs that merely lie in one folder are sorted into comparable groups). UsageError:
    nothing there, or a named run is not finished or outdated. `doubts_of` says which are outdated; a run of which that
    is not known has the doubt (`Run.doubt`).
    """
    sources = [_stores(one, Path(results)) for one in _listed(source)]
    stores = [store for found, _ in sources for one in found if (store := _store_of(one)) is not None]
    doubts = doubts_of(stores)
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    for found, named in sources:
        for one in found:
            store = _store_of(one)
            opened = _opened(one, None if store is None else doubts.get(store.path), named)
            runs += [opened] if isinstance(opened, Run) else []
            left_out += [opened] if isinstance(opened, LeftOut) else []
    unique = {(run.suite, run.path, run.name): run for run in runs}
    if not unique:
        where = ", ".join(str(getattr(one, "path", one)) for one in _listed(source)) or "what was given"
        outdated = [omitted for omitted in left_out if omitted.finished]
        if outdated:
            raise UsageError(f"no run in {where} may be compared: {outdated[0].run} is {outdated[0].why}")
        raise UsageError(f"no finished runs in {where}: create some with `bench run --method base --method refl`")
    return list(unique.values()), left_out, all(named for _, named in sources)


def _store_of(run: RunStore | Run) -> RunStore | None:
    return run.store if isinstance(run, Run) else run


def _opened(one: RunStore | Run, doubt: Doubt | None, named: bool) -> Run | LeftOut:
    """A run, with its doubt; or why it is left out, which is an error of one that was named by itself."""
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
        return LeftOut(store.name, why, its.method, its.suite, True, made_at(store))
    if its.status == "complete":
        run = read_run(store)
        return run if doubt is None else replace(run, doubt=doubt.why)
    if named:
        raise UsageError(f"run {store.path} is not finished: finish it with the `bench run` command that began it")
    return LeftOut(store.name, "not finished", its.method, its.suite, False, made_at(store))


def made_at(store: RunStore | None) -> tuple[str, int]:
    """When a run was begun, by its manifest: what makes one run of a method newer than another."""
    if store is None:
        return "", 0
    return str(store.manifest().provenance.get("created") or ""), (store.path / "manifest.json").stat().st_mtime_ns


def run_stores(source: RunSources, results: Path) -> list[RunStore]:
    """The run folders behind `source`, finished or not; names are looked up in `results`. UsageError: none there."""
    found: list[RunStore] = []
    for one in _listed(source):
        for store in _stores(one, results)[0]:
            found.append(RunStore(store.path) if isinstance(store, Run) else store)
    return list({store.path.absolute(): store for store in found}.values())


def _listed(source: RunSources) -> list[RunSource]:
    return [source] if isinstance(source, str | Path | RunStore | Run) else list(source)


def _stores(source: RunSource, results: Path) -> tuple[list[RunStore | Run], bool]:
    """What one source means, and whether it names a run by itself (a folder of several does not)."""
    if isinstance(source, RunStore | Run):
        return [source], True
    if isinstance(source, str) and not Path(source).is_dir() and Path(source).name == source:
        return [RunStore(path) for path in select([source], results)], True
    path = Path(source)
    if not path.is_dir():
        raise UsageError(f"there is no results folder or run {path}")
    return list(find_runs(path)), RunStore(path).exists()


def other_checkpoints(run: Run) -> list[Run]:
    """The finished runs beside this one that are of the same method with other training seeds (`replicates`)."""
    if run.checkpoint is None or not run.checkpoint.replicates or run.store is None:
        return []
    found = []
    for store in find_runs(run.store.path.parent):
        its = checkpoint_of(store.manifest()) if store.name != run.name else None
        if its is None or (its.of, its.recipe) != (run.checkpoint.of, run.checkpoint.recipe):
            continue
        if store.manifest().status == "complete" and why_outdated(store) is None:
            found.append(read_run(store))
    return found


def display_names(runs: Sequence[Run]) -> list[str]:
    """What is printed for each run: the method, or the whole run name where a method occurs more than once.

    Runs of one name in several folders (before and after a change) also have the part of their path that differs, for
    instance "refl@1a2b3c4d (old)".
    """
    methods, names = [run.method for run in runs], [run.name for run in runs]
    shown = [run.method if methods.count(run.method) == 1 else run.name for run in runs]
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


def select(names: Sequence[str], results: Path) -> list[Path]:
    """Folders of the named runs: a path wins; else a run's full name, else a method of which there is one run.

    UsageError when a name fits none (with a suggestion) or several (they are listed).
    """
    stores = None
    chosen: list[Path] = []
    for name in names:
        if Path(name).is_dir():
            chosen.append(Path(name))
            continue
        stores = find_runs(results) if stores is None else stores
        fitting = [store for store in stores if store.name == name]
        fitting = fitting or [store for store in stores if store.name.partition("@")[0] == name]
        if not stores:
            raise UsageError(f"unknown run '{name}': there are no runs in {results}; create some with `bench run`")
        if not fitting:
            known = {store.name for store in stores} | {store.name.partition("@")[0] for store in stores}
            raise unknown("run", name, known)
        if len(fitting) > 1:
            paths = ", ".join(str(store.path) for store in fitting)
            raise UsageError(f"run '{name}' is ambiguous: give one of {paths}")
        chosen.append(fitting[0].path)
    return chosen
