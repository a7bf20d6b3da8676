"""From a method's name to the method that is run: catalogue < suite < `--set`, with sweeps."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError, UsageError, suggest, unknown
from bench.methods.catalogue import Method, get_method, method_names
from bench.methods.checkpoints import Checkpoint, find_checkpoint, published, repository
from bench.methods.schedule import FIELDS, number_text

if TYPE_CHECKING:
    from bench.suite.schema import MethodOverride, Suite

_WHOLE = frozenset({"switch_step", "clip_skip"})
_TEXT = frozenset({"weights", "negative_prompt", "text_encoder"})
_CONDITIONS = ("negative_prompt", "guidance_rescale", "clip_skip")
_LISTS = frozenset({"table"})
_SCHEDULE = frozenset(itertools.chain.from_iterable(FIELDS.values()))


def resolve_method(name: str, suite: Suite, settings: Mapping[str, str] | None = None) -> Method:
    """The one method that `name` means in this suite under these settings.

    The guidances are numbers afterwards, and weights are there if needed. Raises UsageError (unknown method or
    setting, a value out of range, a sweep) or MissingError (needs weights, has none).
    """
    found = _variants(name, suite, settings or {})
    if len(found) != 1:
        raise UsageError(f"--set for '{name}' expands to {len(found)} variants, but exactly one is allowed here")
    return found[0]


def resolve_methods(
    names: Sequence[str], suite: Suite, settings: Mapping[str, str] | None = None, *, replicates: bool = False
) -> list[Method]:
    """The methods that `names` mean, sweeps (`switch_step=20,30`) written out, each once.

    `replicates`: with each checkpoint that the suite names as a replicate (`bench.suite.replicates`).

    A setting holds for those methods that have it, or with `combined.switch_step` for one of them; a setting that no
    method has is an error. Raises UsageError and MissingError as `resolve_method`.
    """
    if not names:
        raise UsageError(f"no method was named. Known methods: {', '.join(sorted(known_methods(suite)))}.")
    shared = dict(settings or {})
    rows = {name: _row(name, suite) for name in names}
    per_method = {name: _own_settings(name, row, shared) for name, row in rows.items()}
    for key in shared:
        if not any(key in (own, f"{name}.{own}") for name, given in per_method.items() for own in given):
            raise _no_such_setting(key, rows)
    methods = [method for name in rows for method in _variants(name, suite, per_method[name])]
    if replicates:
        from bench.suite.replicates import with_replicates

        methods = with_replicates(methods, suite)
    return list({method.name: method for method in methods}.values())


def known_methods(suite: Suite) -> list[str]:
    """Names of the catalogue's methods and of those that the suite adds."""
    return list(dict.fromkeys([*method_names(), *suite.methods]))


def setting_names(method: Method) -> tuple[str, ...]:
    """What `--set` may change of a method."""
    own = (
        (*method.schedule.fields, "weights", "lora_scale", "text_encoder", "tuned_guidance")
        if method.uses_weights
        else ()
    )
    return (*own, "base_guidance", *_CONDITIONS)


def _own_settings(name: str, row: Method, shared: Mapping[str, str]) -> dict[str, str]:
    """Of the settings of a call, those that this method has; one written for it alone wins."""
    known = setting_names(row)
    own = {key: value for key, value in shared.items() if key in known}
    return own | {key: shared[f"{name}.{key}"] for key in known if f"{name}.{key}" in shared}


def _no_such_setting(key: str, rows: Mapping[str, Method]) -> UsageError:
    known = sorted({name for row in rows.values() for name in setting_names(row)})
    which = f"method '{next(iter(rows))}' has" if len(rows) == 1 else f"none of the methods {', '.join(rows)} has"
    return UsageError(f"{which} no setting '{key}'.{suggest(key, known)} Settings: {', '.join(known)}.")


def _row(name: str, suite: Suite) -> Method:
    """The catalogue's row with what the suite says about it; a suite may add a method that is `like` another."""
    override = suite.methods.get(name)
    like = override.like if override is not None and override.like else name
    if like not in method_names():
        raise unknown("method", like, known_methods(suite))
    method = dataclasses.replace(get_method(like), name=name, row=name)
    return method if override is None else _with_override(method, override)


def _with_override(method: Method, override: MethodOverride) -> Method:
    given = override.model_dump(exclude_none=True, exclude={"like", "replicates"})
    schedule = {key: given.pop(key) for key in list(given) if key in _SCHEDULE}
    new = dataclasses.replace(method.schedule, kind=given.pop("schedule", method.schedule.kind))
    for key in schedule:
        if key not in new.fields:
            raise UsageError(f"method '{method.name}' has no setting '{key}'.{suggest(key, new.fields)} (in the suite)")
    given["embeddings"] = tuple(sorted(override.embeddings.items()))
    if "trained_on" in given:
        given["trained_on"] = tuple(given["trained_on"])
    return dataclasses.replace(method, schedule=dataclasses.replace(new, **schedule), **given)


def _variants(name: str, suite: Suite, settings: Mapping[str, str]) -> list[Method]:
    row = _row(name, suite)
    for key in settings:
        if key not in setting_names(row):
            raise _no_such_setting(key, {name: row})
    choices = [[(key, value) for value in _values(key, text)] for key, text in settings.items()]
    found = [_finish(_with_settings(row, suite, chosen), suite) for chosen in itertools.product(*choices)]
    return list({method.name: method for method in found}.values())


def _values(key: str, text: str) -> list[Any]:
    """The values of a sweep: "20,30" -> [20, 30]. Weights and tables are one value each."""
    if key in _TEXT:
        return [text]
    if key in _LISTS:
        return [tuple(_number(key, part) for part in text.split(","))]
    values = [_number(key, part) for part in text.split(",") if part.strip()]
    if not values:
        raise UsageError(f"--set {key} has no value")
    return values


def _number(key: str, text: str) -> float | int:
    try:
        return int(text) if key in _WHOLE else _finite(float(text))
    except ValueError:
        kind = "an integer" if key in _WHOLE else "a number"
        raise UsageError(f"--set {key} must be {kind}, got '{text.strip()}'") from None


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(number)
    return number


def _with_settings(row: Method, suite: Suite, chosen: Iterable[tuple[str, Any]]) -> Method:
    """The row with settings. Those that change nothing leave the name alone: it is the same run then."""
    method = row
    changed: list[tuple[str, str]] = []
    for key, value in chosen:
        owner = row.schedule if key in row.schedule.fields else _with_guidance(row, suite)
        if getattr(owner, key) != value:
            changed.append((key, value if key == "weights" else _plain(value)))
        if key in row.schedule.fields:
            method = dataclasses.replace(method, schedule=dataclasses.replace(method.schedule, **{key: value}))
        else:
            method = dataclasses.replace(method, **{key: value})
        if key == "weights" and value != row.weights:  # what the suite says of its own checkpoint holds no longer
            method = dataclasses.replace(method, trained_on=(), trained_on_data=())
    if not changed:
        return method
    suffix = ",".join(f"{key}={short_weights(value) if key == 'weights' else value}" for key, value in changed)
    return dataclasses.replace(method, name=f"{row.name}[{suffix}]", settings=tuple(changed))


def short_weights(weights: str) -> str:
    """Weights as names show them: of a path its last part, of the hub the whole name."""
    path = weights.partition("#")[0]
    is_path = path.startswith(("/", ".", "~")) or Path(path).expanduser().exists()
    return Path(path).name or path if is_path else path


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "/".join(number_text(part) for part in value)
    return value if isinstance(value, str) else number_text(value)


def _with_guidance(method: Method, suite: Suite) -> Method:
    base = suite.guidance if method.base_guidance is None else method.base_guidance
    tuned = suite.guidance if method.tuned_guidance is None else method.tuned_guidance
    return dataclasses.replace(method, base_guidance=float(base), tuned_guidance=float(tuned))


def _finish(method: Method, suite: Suite) -> Method:
    method = _with_guidance(method, suite)
    try:
        weights = method.schedule.weights(suite.sampler.steps)
    except UsageError as error:
        raise UsageError(f"method '{method.name}': {error}") from None
    for side in ("base_guidance", "tuned_guidance"):
        if getattr(method, side) < 1.0:
            raise UsageError(
                f"{side} of method '{method.name}' must be at least 1 (1 means no guidance), got "
                f"{getattr(method, side):g}"
            )
    _check_conditions(method)
    if not method.lora_scale > 0:
        raise UsageError(f"lora_scale of method '{method.name}' must be above 0, got {method.lora_scale:g}")
    if method.weights is None and any(weights):
        raise MissingError(_no_weights(method, suite))
    _check_family(method, suite)
    return method if method.trained_on else dataclasses.replace(method, trained_on=_rewards_of(method.weights))


def _check_conditions(method: Method) -> None:
    """What a suite's file is checked for already, for settings that came from a call."""
    if method.text_encoder not in (None, "ignore"):
        raise UsageError(f"text_encoder of method '{method.name}' must be 'ignore', got '{method.text_encoder}'")
    if method.guidance_rescale is not None and not 0.0 <= method.guidance_rescale <= 1.0:
        raise UsageError(f"guidance_rescale of method '{method.name}' must be in 0..1, got {method.guidance_rescale:g}")
    if method.clip_skip is not None and method.clip_skip < 1:
        raise UsageError(f"clip_skip of method '{method.name}' must be at least 1, got {method.clip_skip}")


def _rewards_of(weights: str | None) -> tuple[str, ...]:
    """What a published checkpoint was trained on; () for any other."""
    known = find_checkpoint(weights) if weights is not None else None
    return known.trained_on if known is not None else ()


def _check_family(method: Method, suite: Suite) -> None:
    """UsageError for a published checkpoint of another model family than the suite's, before anything is fetched."""
    if suite.model.endpoint is not None:  # a name there is whatever its server calls so
        return
    known = find_checkpoint(method.weights) if method.weights else None
    if known is not None and known.family != suite.model.family:
        fitting = [one.weights for one in published(family=suite.model.family)]
        others = f" Published for '{suite.model.family}': {', '.join(fitting)}." if fitting else ""
        raise UsageError(
            f"method '{method.row_name}': the checkpoint {known.weights} was tuned from {known.base} (family "
            f"'{known.family}'), but the model of suite '{suite.name}' is of family '{suite.model.family}'.{others}"
        )


def _no_weights(method: Method, suite: Suite) -> str:
    like = suite.methods[method.row_name].like if method.row_name in suite.methods else None
    own = published(like or method.row_name)
    names = [*method.checkpoints, *(one.weights for one in _fitting(own, suite))]
    if names:
        there = f"published checkpoints are {', '.join(names)}"
    elif own:
        families = sorted({one.family for one in own})
        there = f"its published checkpoints are for other models: {', '.join(families)}"
    elif method.train == "refl":
        there = "the paper's authors published no ReFL checkpoint"
    else:
        there = "none is known to be published"
    if not names and (others := [one.weights for one in _fitting(published(), suite)]):
        there += f"; checkpoints of other methods: {', '.join(others)}"
    train = f"train one with `bench train {method.train} --suite {suite.name}`, or " if method.train else ""
    return (
        f"method '{method.row_name}' needs tuned weights, and suite '{suite.name}' names none ({there}): "
        f"{train}pass them with `--set weights=PATH_OR_HUB_ID`"
    )


def _fitting(checkpoints: Sequence[Checkpoint], suite: Suite) -> list[Checkpoint]:
    """Those for the suite's own base model if there are any, else those for its family."""
    of_family = [checkpoint for checkpoint in checkpoints if checkpoint.family == suite.model.family]
    base = repository(suite.model.weights)
    return [one for one in of_family if one.base == base] or of_family
