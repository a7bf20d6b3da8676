"""What there is (methods, models, metrics, prompt sets, suites), as plain tables. Light: no torch, no pandas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import unknown

ARROWS = {"higher": "↑", "lower": "↓"}


@dataclass(frozen=True, slots=True)
class Table:
    """Text in rows and columns; `right` holds the indices of right-aligned columns."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    right: frozenset[int] = frozenset()


def table_of(topic: str | None) -> Table:
    """The table of one topic, or of the topics themselves; UsageError for an unknown one."""
    if topic is None:
        rows = tuple((f"bench list {name}", (make.__doc__ or "").splitlines()[0]) for name, make in TOPICS.items())
        return Table(("command", "shows"), rows)
    if topic not in TOPICS:
        raise unknown("topic", topic, TOPICS)
    return TOPICS[topic]()


def methods() -> Table:
    """How images are made: which weights act at which denoising step."""
    from bench.methods.catalogue import get_method, method_names

    rows = []
    for method in map(get_method, method_names()):
        schedule = method.schedule
        settings = ", ".join(f"{name}={getattr(schedule, name)}" for name in schedule.fields)
        rows.append((method.name, method.title, f"{schedule.kind} ({settings})", method.citation or "-"))
    return Table(("method", "title", "weight of the tuned model", "source"), tuple(rows))


def models() -> Table:
    """Which models the suites evaluate, and where their weights come from."""
    from bench.suite import load_suite, suite_names

    used: dict[tuple[str, str], list[str]] = {}
    for name in suite_names():
        model = load_suite(name).model
        used.setdefault((model.weights, model.family), []).append(name)
    rows = tuple((weights, family, ", ".join(names)) for (weights, family), names in used.items())
    return Table(("weights", "family", "suites"), rows)


def metrics() -> Table:
    """What is measured: per image, per group of images of a prompt, or on the whole set."""
    import metrics as registry
    from bench.registry import metric_names

    facts = [registry.info(name) for name in metric_names()]
    rows = tuple(
        (
            one.name,
            one.title + (" (not supported)" if one.unsupported else ""),
            one.kind.value,
            ARROWS[one.direction.value],
            one.unit or "-",
            one.licence or "-",
        )
        for one in facts
    )
    return Table(("metric", "title", "kind", "better", "unit", "licence"), rows)


def prompt_sets() -> Table:
    """The prompt sets shipped here, and public ones that are known."""
    import prompts

    shipped = [(name, str(len(prompts.load(name))), "yes", "") for name in prompts.names()]
    public = [(one.name, str(one.count), "no", one.hub or one.title) for one in prompts.public_sets().values()]
    return Table(("prompts", "count", "shipped", "source"), (*shipped, *public), right=frozenset({1}))


def suites() -> Table:
    """Ready suites: a model, its prompts, sampler, methods and metrics."""
    from bench.suite import load_suite, suite_names

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
