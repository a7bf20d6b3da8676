"""`--protocol official`: a suite's metrics as the evaluation code of the ImageReFL paper measures them.

They are metrics of their own name (`metrics.official`), so that they never stand in one column with the corrected ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from bench.errors import UsageError, unknown
from bench.suite.metric_spec import MetricSpec
from bench.suite.schema import Suite
from metrics.types import OFFICIAL, is_official

PROTOCOLS = ("corrected", "official")
TRAPS = {
    2: "switch step 0 still runs one step of the base model",
    3: "the raw ImageReward",
    4: "one shared resize and crop in bfloat16",
    5: "a tensor resize that does not name antialias",
    6: "groups of 5 consecutive images, whatever their prompts",
    7: "the plain mean of batch means as the one number",
    8: "one global generator of noise",
    9: "guidance values of the configuration that are never read",
}
"""The ways of the official code that a faithful evaluation avoids, by their number in docs/protocol.md."""
_OF_IMAGES = (4, 5, 7)
_OF_GROUPS = (4, 5, 6, 7)
_OF_MAKING = (2, 8, 9)


def official_names() -> dict[str, str]:
    """Metric -> its name by the official protocol, of those that the official code computes."""
    from bench.registry.metrics import metric_names

    known = metric_names()
    return {name: name + OFFICIAL for name in known if name + OFFICIAL in known}


def traps_of(name: str) -> tuple[int, ...]:
    """The traps that the official value of a metric shows; () for a metric that the official code does not compute."""
    import metrics

    if name not in official_names():
        return ()
    own = (3,) if name == "image_reward" else ()
    return (*own, *(_OF_GROUPS if metrics.info(name).kind == metrics.Kind.GROUP else _OF_IMAGES))


def under_protocol(suite: Suite, protocol: str, *, making: bool = False) -> tuple[Suite, list[str]]:
    """The suite with the metrics that a protocol scores, and what has to be said of it, as sentences.

    `corrected` is the suite as it is. `official` keeps the weights of a metric, not its options, and leaves out what
    the official code does not compute. `making`: images are made, too. UsageError for another protocol, or where no
    metric is left.
    """
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    if protocol == "corrected":
        return suite, []
    names = official_names()
    chosen = {names.get(name, name): spec for name, spec in suite.metrics.items() if name in names or is_official(name)}
    absent = [name for name in suite.metrics if name not in names and not is_official(name)]
    if not chosen:
        computed = ", ".join(names)
        raise UsageError(
            f"the official code computes none of {', '.join(absent)}: name some of {computed} with --metrics"
        )
    specs = {name: _spec(name, suite, spec) for name, spec in chosen.items()}
    return suite.model_copy(update={"metrics": specs}), list(_sentences(suite, absent, making))


def _spec(name: str, suite: Suite, spec: MetricSpec) -> MetricSpec:
    return spec if name in suite.metrics else MetricSpec(weights=spec.weights)


def _sentences(suite: Suite, absent: list[str], making: bool) -> Iterable[str]:
    names = official_names()
    shown = [f"{names[name]} ({_numbers(traps_of(name))})" for name in suite.metrics if name in names]
    if shown:
        yield f"official protocol, traps of docs/protocol.md that each value shows: {', '.join(shown)}"
    if absent:
        yield f"not scored by the official protocol, whose code does not compute them: {', '.join(absent)}"
    dropped = [name for name in suite.metrics if name in names and suite.metrics[name].options]
    if dropped:
        yield f"the suite's options of {', '.join(dropped)} are those of the corrected metric and are not used"
    told = "; ".join(f"{number}, {TRAPS[number]}" for number in _OF_MAKING)
    yield f"not applied, since they are of how images are made: {told}{'; images are made as always' if making else ''}"


def _numbers(traps: tuple[int, ...]) -> str:
    return ", ".join(map(str, traps))
