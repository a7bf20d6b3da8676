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
from bench.methods.coupling import ALL_FIELDS as COUPLED
from bench.methods.coupling import coupling
from bench.methods.guider import ALL_FIELDS, Guider
from bench.methods.method import ACCELERATION, TAYLOR
from bench.methods.schedule import FIELDS, number_text
from bench.methods.search import ALL_FIELDS as SEARCH
from bench.suite.fitting import (
    check_acceleration,
    check_conditions_given,
    check_coupling,
    with_family_defaults,
    with_parts,
)
from bench.suite.published import check_checkpoint_family, no_weights, rewards_of

if TYPE_CHECKING:
    from bench.suite.override import MethodOverride
    from bench.suite.schema import Suite

_WHOLE = frozenset({"switch_step", "clip_skip", "zero_init_steps", "n", "rounds", "steps", "cache_interval", *TAYLOR})
_TEXT = frozenset({"weights", "negative_prompt", "text_encoder", "weak", "reward", "precision"})
_CONDITIONS = ("negative_prompt", "guidance_rescale", "clip_skip")
_WEIGHTS = frozenset({"weights", "weak", "soup"})
_LISTS = frozenset({"table", "ratios"})
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
    own = (*own, "soup", "ratios", "ratio") if method.ratio is not None else own
    own = (*own, *method.search.fields) if method.search is not None else own
    own = (*own, *method.coupling.fields) if method.coupling is not None else own
    own = (*own, *(name for name in ACCELERATION if getattr(method, name) is not None))
    return (*own, *method.guider.fields, "base_guidance", *_CONDITIONS)


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
    guider = {key: given.pop(key) for key in list(given) if key in ALL_FIELDS}
    kind = given.pop("guider", method.guider.kind)
    kept = {} if kind != method.guider.kind else {key: getattr(method.guider, key) for key in method.guider.fields}
    given["guider"] = _guider_of(method.name, Guider(kind, **kept), guider)
    search = {key: given.pop(key) for key in list(given) if key in SEARCH}
    given["search"] = method.search if not search else _with_part(method, "search", search)
    coupled = {key: given.pop(key) for key in list(given) if key in COUPLED}
    if kind := given.pop("coupling", None):
        method = dataclasses.replace(method, coupling=coupling(kind))
    given["coupling"] = method.coupling if not coupled else _with_part(method, "coupling", coupled)
    given["embeddings"] = tuple(sorted(override.embeddings.items()))
    if "trained_on" in given:
        given["trained_on"] = tuple(given["trained_on"])
    return dataclasses.replace(method, schedule=dataclasses.replace(new, **schedule), **given)


def _guider_of(name: str, guider: Guider, given: Mapping[str, Any]) -> Guider:
    for key in given:
        if key not in guider.fields:
            raise UsageError(f"method '{name}' has no setting '{key}'.{suggest(key, guider.fields)} (in the suite)")
    return dataclasses.replace(guider, **given)


def _with_part(method: Method, part: str, given: Mapping[str, Any]) -> Any:
    """The search or the coupling of a method with other settings."""
    owner = getattr(method, part)
    fields = owner.fields if owner is not None else ()
    for key in given:
        if key not in fields:
            raise UsageError(f"method '{method.name}' has no setting '{key}'.{suggest(key, fields)} (in the suite)")
    return dataclasses.replace(owner, **given)


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
    if key == "soup":
        return [tuple(part.strip() for part in text.split(","))]
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
        parts = [name for name in ("schedule", "guider", "search", "coupling") if getattr(row, name) is not None]
        part = next((name for name in parts if key in getattr(row, name).fields), None)
        owner = getattr(row, part) if part else _with_guidance(row, suite)
        if getattr(owner, key) != value:
            changed.append((key, _plain(value)))
        if part:
            method = dataclasses.replace(method, **{part: dataclasses.replace(getattr(method, part), **{key: value})})
        else:
            method = dataclasses.replace(method, **{key: value})
        # What the suite says of its own checkpoint holds for no other.
        if key in ("weights", "soup") and value != getattr(row, key):
            method = dataclasses.replace(method, trained_on=(), trained_on_data=())
    if not changed:
        return method
    suffix = ",".join(f"{key}={_shown(value) if key in _WEIGHTS else value}" for key, value in changed)
    return dataclasses.replace(method, name=f"{row.name}[{suffix}]", settings=tuple(changed))


def short_weights(weights: str) -> str:
    """Weights as names show them: of a path its last part, of the hub the whole name."""
    path = weights.partition("#")[0]
    is_path = path.startswith(("/", ".", "~")) or Path(path).expanduser().exists()
    return Path(path).name or path if is_path else path


def _shown(weights: str) -> str:
    """Weights names, several with commas between them, as a method's name shows them."""
    return "+".join(map(short_weights, weights.split(",")))


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        texts = all(isinstance(part, str) for part in value)
        return ",".join(value) if texts else "/".join(number_text(part) for part in value)
    return value if isinstance(value, str) else number_text(value)


def _with_guidance(method: Method, suite: Suite) -> Method:
    base = suite.guidance if method.base_guidance is None else method.base_guidance
    tuned = suite.guidance if method.tuned_guidance is None else method.tuned_guidance
    return dataclasses.replace(method, base_guidance=float(base), tuned_guidance=float(tuned))


def _finish(method: Method, suite: Suite) -> Method:
    method = _with_guidance(method, suite)
    try:
        weights = method.weights_at(suite.sampler.steps)
    except UsageError as error:
        raise UsageError(f"method '{method.name}': {error}") from None
    for side in ("base_guidance", "tuned_guidance"):
        if getattr(method, side) < 1.0:
            raise UsageError(
                f"{side} of method '{method.name}' must be at least 1 (1 means no guidance), got "
                f"{getattr(method, side):g}"
            )
    check_conditions_given(method)
    method = with_family_defaults(method, suite)
    sides = {"base": method.base_guidance, "tuned": method.tuned_guidance}
    running = [sides["base"]] if any(one < 1.0 for one in weights) else []
    running += [sides["tuned"]] if any(weights) else []
    method.guider.check_family(method.name, suite.model.family, suite.model.true_cfg)
    method.guider.check(method.name, [float(one or 1.0) for one in running], method.steps or suite.sampler.steps)
    if not method.lora_scale > 0:
        raise UsageError(f"lora_scale of method '{method.name}' must be above 0, got {method.lora_scale:g}")
    method = with_parts(method)
    check_acceleration(method, suite)
    if method.search is not None:
        method.search.check(method.name, suite)
    if method.coupling is not None:
        check_coupling(method, suite)
    if method.weights is None and any(weights):
        raise MissingError(no_weights(method, suite))
    check_checkpoint_family(method, suite)
    names = [name for name, _ in method.parts] if method.parts else [method.weights]
    rewards = method.trained_on or tuple(dict.fromkeys(one for name in names for one in rewards_of(name)))
    if method.search is not None:  # what chooses among candidates is no evidence for them
        rewards = tuple(dict.fromkeys([*rewards, str(method.search.reward)]))
    return dataclasses.replace(method, trained_on=rewards)
