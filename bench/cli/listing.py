"""What there is (methods, models, metrics, prompt sets, suites, runs), as plain tables. Light: no torch, no pandas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, unknown
from bench.formatting import Table
from bench.store.on_object_stores import on_object_stores

if TYPE_CHECKING:
    from bench.methods.catalogue import Method


def table_of(topic: str | None, results: Path = Path("results")) -> Table:
    """The table of one topic, or of the topics themselves; UsageError for an unknown one."""
    if topic is None:
        shown = {**{name: make.__doc__ for name, make in TOPICS.items()}, RUNS: run_records.__doc__}
        rows = tuple((f"bench list {name}", (text or "").splitlines()[0]) for name, text in shown.items())
        return Table(("command", "shows"), rows)
    if topic == RUNS:
        return _runs(run_records(results))
    if topic not in TOPICS:
        raise unknown("topic", topic, [*TOPICS, RUNS])
    return TOPICS[topic]()


def records_of(topic: str | None, results: Path = Path("results")) -> list[dict[str, Any]]:
    """The rows of a topic as plain JSON data, the head of the table as keys."""
    if topic == RUNS:
        return run_records(results)
    table = table_of(topic)
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


RUNS = "runs"


@on_object_stores()
def run_records(results: Path) -> list[dict[str, Any]]:
    """The runs of a results folder: method, name, prompts, images, whether finished, date and size."""
    from bench.store.run_store import find_runs

    found: list[dict[str, Any]] = []
    for store in find_runs(results):
        try:
            manifest = store.manifest()
        except BenchError as error:
            found.append({"suite": store.suite, "run": store.name, "method": "", "error": str(error)})
            continue
        size = sum(path.stat().st_size for path in store.path.rglob("*") if path.is_file())
        found.append(
            {
                "suite": store.suite,
                "run": store.name,
                "method": manifest.method,
                "name": manifest.name,
                "prompts": len(manifest.prompts),
                "images": int(manifest.counts.get("images") or 0),
                "finished": manifest.complete,
                "date": str(manifest.provenance.get("created") or ""),
                "bytes": size,
                "metrics": store.score_metrics(),
            }
        )
    return found


def _runs(records: Sequence[Mapping[str, Any]]) -> Table:
    head = ("suite", "run", "name", "prompts", "images", "finished", "date", "size")
    rows = []
    for one in records:
        if "error" in one:
            rows.append((one["suite"], one["run"], "-", "-", "-", "unreadable", "-", "-"))
            continue
        date = str(one["date"])[:16].replace("T", " ") or "-"
        count = (str(one["prompts"]), str(one["images"]), "yes" if one["finished"] else "no")
        rows.append((one["suite"], one["run"], one["name"] or "-", *count, date, f"{one['bytes'] / 1e6:,.1f} MB"))
    return Table(head, tuple(rows), right=frozenset({3, 4, 7}))


def methods() -> Table:
    """How images are made: which weights act at which denoising step."""
    from bench.methods.catalogue import METHODS, get_method, method_names
    from bench.methods.checkpoints import published

    rows = []
    for method in map(get_method, method_names()):
        schedule = method.schedule
        settings = ", ".join(f"{name}={getattr(schedule, name)}" for name in schedule.fields)
        count = len(published(method.name)) + len(method.checkpoints)
        ways = [*([f"{count} published"] if count else []), *([f"bench train {method.train}"] if method.train else [])]
        origin = METHODS.origin(method.name)
        guidance = " / ".join(map(_guidance, (method.base_guidance, method.tuned_guidance)))
        guidance = guidance if method.uses_weights else _guidance(method.base_guidance)
        rows.append(
            (
                method.name,
                method.title,
                f"{schedule.kind} ({settings})" if settings else schedule.kind,
                f"{guidance}, {told}" if (told := _guider(method)) else guidance,
                ", ".join(ways) or "-",
                method.citation or ("-" if origin == "bench" else origin),
            )
        )
    head = ("method", "title", "weight of the tuned model", "guidance base / tuned", "checkpoints", "source")
    return Table(head, tuple(rows))


def _guider(method: Method) -> str:
    """How guidance is applied, where it is not plain, and how the images of a prompt are coupled."""
    told = [_settings(method.guider.to_dict())] if not method.guider.plain else []
    told += [_settings(method.coupling.to_dict())] if method.coupling is not None else []
    return ", ".join(told)


def _settings(given: Mapping[str, Any]) -> str:
    """A part of a method: its kind, and its settings in brackets."""
    settings = ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={'-' if value is None else value}"
        for name, value in given.items()
        if name != "kind"
    )
    return f"{given['kind']} ({settings})"


def _guidance(value: float | None) -> str:
    return "suite's" if value is None else "none" if value == 1 else f"{value:g}"


def models() -> Table:
    """Base models of the suites, and the published checkpoints that were tuned from them."""
    from bench.methods.checkpoints import CHECKPOINTS
    from bench.registry.families import family_row, model_families
    from bench.suite.load import load_suite, suite_names
    from bench.suite.schema import NO_MODEL

    used: dict[tuple[str, str], list[str]] = {}
    for name in suite_names():
        model = load_suite(name).model
        if model.family == NO_MODEL:
            continue
        used.setdefault((model.weights, model.family), []).append(name)
    rows = [
        (weights, family, f"base of {', '.join(names)}", "-", "-", "-", _pin(weights), "-")
        for (weights, family), names in used.items()
    ]
    for family, target in model_families().items():
        rows.append((target, family, "family of a plug-in", "-", "-", "-", "-", "-"))
    for checkpoint in CHECKPOINTS:
        guidance = "-" if checkpoint.guidance is None else _guidance(checkpoint.guidance)
        row = family_row(checkpoint.family)
        guidance += " (embedded)" if row is not None and row.distilled else ""
        steps = "-" if checkpoint.steps is None else str(checkpoint.steps)
        trained_on = ", ".join(checkpoint.trained_on) or "-"
        pin = _pin(checkpoint.pinned)
        rows.append(
            (
                checkpoint.weights,
                checkpoint.family,
                checkpoint.method,
                trained_on,
                guidance,
                steps,
                pin,
                checkpoint.licence,
            )
        )
    head = ("weights", "family", "method", "trained on", "guidance", "steps", "revision", "licence")
    return Table(head, tuple(rows), right=frozenset({5}))


def _pin(weights: str) -> str:
    """The commit in a weights name, "shipped" for the embedded ones, or that there is none."""
    if weights.startswith("shapes:"):
        return "shipped"
    revision = weights.partition("@")[2].partition(":")[0]
    return revision[:12] if revision else "not pinned"


def metrics() -> Table:
    """What is measured: per image, per group of images of a prompt, or on the whole set."""
    import metrics as registry
    from bench.registry.metrics import metric_names

    facts = [registry.info(name) for name in metric_names()]
    rows = tuple(
        (
            one.name,
            one.title + (" (not supported)" if one.unsupported else ""),
            one.kind.value,
            one.direction.arrow,
            one.unit or "-",
            one.licence or "-",
        )
        for one in facts
    )
    return Table(("metric", "title", "kind", "better", "unit", "licence"), rows)


def prompt_sets() -> Table:
    """The prompt sets shipped here, and public ones that are known."""
    import prompts

    rows = [(name, str(len(prompts.load(name))), "shipped", "yes", "-") for name in prompts.names()]
    for one in prompts.public_sets().values():
        how = "fetched when needed" if one.hub else "put in place by hand"
        source = one.hub or one.git or one.title
        rows.append((one.name, str(one.count), how, "yes" if one.pinned else "no", source))
    return Table(("prompts", "count", "how", "pinned", "source"), tuple(rows), right=frozenset({1}))


def suites() -> Table:
    """Ready suites: a model, its prompts, sampler, methods and metrics."""
    from bench.suite.load import load_suite, suite_names

    rows = []
    for name in suite_names():
        suite = load_suite(name)
        rows.append((name, suite.title, suite.prompts, str(suite.samples), ", ".join(suite.metrics)))
    return Table(("suite", "title", "prompts", "images per prompt", "metrics"), tuple(rows), right=frozenset({3}))


TOPICS: dict[str, Callable[[], Table]] = {
    "methods": methods,
    "models": models,
    "metrics": metrics,
    "prompts": prompt_sets,
    "suites": suites,
}
