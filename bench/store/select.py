"""Which runs are meant: RUN arguments and folders -> runs, with those left out and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError, unknown
from bench.store.outdated import why_outdated
from bench.store.run_store import RunStore, find_runs
from bench.store.runs import Run, checkpoint_of, read_run

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


def open_runs(source: RunSources, results: Path | str = Path("results")) -> tuple[list[Run], list[LeftOut], bool]:
    """The runs behind `source`; names are looked up in `results`.

    Returns the finished runs, those left out (not finished, outdated), and whether every run was named by itself (then
    being not comparable is an error; runs that merely lie in one folder are sorted into comparable groups). UsageError:
    nothing there, or a named run is not finished or outdated.
    """
    sources = _listed(source)
    runs: list[Run] = []
    unfinished: list[LeftOut] = []
    named = True
    for source in sources:
        stores, one_named = _stores(source, Path(results))
        named = named and one_named
        for store in stores:
            if isinstance(store, Run):
                runs.append(store)
            elif (why := why_outdated(store)) is not None:
                if one_named:
                    raise UsageError(f"run {store.path} is outdated: {why}")
                its = store.manifest()
                unfinished.append(LeftOut(store.name, "outdated", its.method, its.suite, True, made_at(store)))
            elif store.manifest().status == "complete":
                runs.append(read_run(store))
            elif one_named:
                raise UsageError(
                    f"run {store.path} is not finished: finish it with the `bench run` command that began it"
                )
            else:
                method, suite = store.manifest().method, store.manifest().suite
                unfinished.append(LeftOut(store.name, "not finished", method, suite, False, made_at(store)))
    unique = {(run.suite, run.path, run.name): run for run in runs}
    if not unique:
        where = ", ".join(str(getattr(source, "path", source)) for source in sources) or "what was given"
        raise UsageError(f"no finished runs in {where}: create some with `bench run --method base --method refl`")
    return list(unique.values()), unfinished, named


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
