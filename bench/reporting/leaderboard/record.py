"""A run's result as one JSON file: what it was, all of its values, and the means that follow from them.

A record holds every value, so that whoever collects records can compute all means, intervals and paired differences
again and need not believe what is stated. Its digest covers everything else in it.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)

from bench.analysis.summary import left_out_values, metric_interval
from bench.errors import UsageError, system_reason
from bench.formatting import is_safe_name, without_folders
from bench.store.cards import with_reference
from bench.store.records import MOST_SAMPLES
from bench.store.runs import COLUMNS, MetricFacts, Run, facts_from_card, metric_order, tidy_types
from bench.store.select import made_at

RECORD_VERSION = 1
MOST_BYTES = 256 * 2**20


def _safe(name: str) -> str:
    if not is_safe_name(name):
        raise ValueError("must be 1 to 100 of A-Z a-z 0-9 . _ - @")
    return name


def _run_name(name: str) -> str:
    method, _, digest = name.rpartition("@")
    if not is_safe_name(method) or not is_safe_name(digest):
        raise ValueError("must be <method>@<hash>")
    return name


def _time(text: str) -> str:
    if text and datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("must have a time zone")
    return text


Value = FiniteFloat | None
Strict = ConfigDict(extra="forbid", frozen=True)


class PromptRecord(BaseModel):
    """A prompt."""

    model_config = Strict
    id: Annotated[StrictStr, AfterValidator(_safe)]
    text: StrictStr
    tags: list[StrictStr] = []


class MetricRecord(BaseModel):
    """A metric's card, values [prompts][samples] and mean; one sample of a group metric, [[value]] of a set metric.

    A value that there is not is null, with a reason by "prompt/sample". `left_out`: a set metric's values with one
    block of prompts left out each.
    """

    model_config = Strict
    kind: Literal["image", "group", "set"]
    card: dict[str, Any]
    mean: Value
    ci_low: Value
    ci_high: Value
    values: list[list[Value]]
    reasons: dict[StrictStr, StrictStr] = {}
    left_out: list[FiniteFloat] = []


class Record(BaseModel):
    """One finished run. `scored` is "elsewhere" of values that bench did not compute, which is said beside them."""

    model_config = Strict
    record_version: Literal[1]
    suite: Annotated[StrictStr, AfterValidator(_safe)]
    title: StrictStr
    label: StrictStr | None = None
    method: StrictStr
    name: StrictStr = ""
    run: Annotated[StrictStr, AfterValidator(_run_name)]
    created: Annotated[StrictStr, AfterValidator(_time)]
    scored: Literal["here", "elsewhere"] = "here"
    prompts: Annotated[list[PromptRecord], Field(min_length=1)]
    samples: Annotated[StrictInt, Field(ge=1, le=MOST_SAMPLES)]
    images: Annotated[StrictInt, Field(ge=0)]
    trained_on: list[StrictStr] = []
    tuned: StrictStr = ""
    searched: Annotated[StrictStr, Field(exclude_if=operator.not_)] = ""  # left out: records had none at first
    cluster: StrictStr = ""
    common: StrictBool = False
    conditions: dict[str, Any] = {}
    notes: dict[str, list[StrictStr]] = {}
    metrics: dict[StrictStr, MetricRecord]


def digest(record: Record) -> str:
    """sha256 of the record's content, whatever the order of its keys."""
    text = json.dumps(record.model_dump(), sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_name(record: Record) -> str:
    """What the file of a record is called: one run may have been made and scored several times."""
    return f"{record.run}-{digest(record)[:8]}.json"


def to_text(record: Record) -> str:
    """The file of a record."""
    data = {"sha256": digest(record), **record.model_dump()}
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _clean(data: Any) -> Any:
    """Plain data without folders of the machine and without NaN."""
    if isinstance(data, str):
        return without_folders(data)
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, Mapping):
        return {str(key): _clean(value) for key, value in data.items()}
    return [_clean(value) for value in data] if isinstance(data, list | tuple) else data


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def record_of(run: Run) -> Record:
    """The record of a finished run."""
    manifest = run.store.manifest() if run.store is not None else None
    foreign = bool(manifest and manifest.identity.get("scores"))
    data = {
        "record_version": RECORD_VERSION,
        "suite": run.suite,
        "title": run.title,
        "label": next((facts.label for facts in run.metrics.values() if facts.label), None),
        "method": run.method,
        "name": run.given,
        "run": run.name,
        "created": made_at(run.store)[0],
        "scored": "elsewhere" if foreign else "here",
        "prompts": [{"id": one, "text": text, "tags": list(run.tags.get(one, ()))} for one, text in run.prompts],
        "samples": run.samples,
        "images": run.n_images,
        "trained_on": list(run.trained_on),
        "tuned": run.tuned,
        "searched": run.searched,
        "cluster": run.cluster,
        "common": run.common,
        "conditions": _clean(run.conditions),
        "notes": _clean(run.notes),
        "metrics": {name: _metric(run, facts) for name, facts in run.metrics.items()},
    }
    return Record.model_validate(data)


def _metric(run: Run, facts: MetricFacts) -> dict[str, Any]:
    interval = metric_interval(run, facts.name)
    rows = run.rows(facts.name)
    width = run.samples if facts.kind == "image" else 1
    places = {"": 0} if facts.kind == "set" else {one: p for p, (one, _) in enumerate(run.prompts)}
    values: list[list[float | None]] = [[None] * width for _ in places]
    reasons = {}
    for prompt, sample, value, reason in zip(
        rows["prompt_id"], rows["sample"].fillna(0), rows["value"], rows["reason"], strict=True
    ):
        place = "" if facts.kind == "set" else str(prompt)
        p, s = places.get(place), int(sample)
        if p is None or s >= width:
            continue
        values[p][s] = _finite(float(value))
        if values[p][s] is None and isinstance(reason, str):
            reasons[f"{place}/{s}"] = without_folders(reason)
    card = {"title": facts.title, "direction": facts.direction, "label": facts.label, **_clean(dict(facts.card))}
    return {
        "kind": facts.kind,
        "card": {**card, "digest": facts.digest},
        **{"mean": _finite(interval.mean), "ci_low": _finite(interval.low), "ci_high": _finite(interval.high)},
        "values": values,
        "reasons": reasons,
        "left_out": list(left_out_values(run, facts.name)) if facts.kind == "set" else [],
    }


def run_of(record: Record, path: Path = Path()) -> Run:
    """The record as the judges see a run; without pictures."""
    import pandas as pd

    metrics, frames, left_out = {}, [], {}
    ids = [prompt.id for prompt in record.prompts]
    for name, one in record.metrics.items():
        card = {"kind": one.kind, **one.card}
        card = with_reference(card) if record.scored == "elsewhere" else card
        metrics[name] = facts_from_card(name, card, record.label)
        rows = [
            (name, *_place(one.kind, ids[p], s), math.nan if value is None else value, _reason(one, ids[p], s))
            for p, line in enumerate(one.values)
            for s, value in enumerate(line)
        ]
        frames.append(pd.DataFrame(rows, columns=["metric", "prompt_id", "sample", "value", "reason"]))
        if one.left_out:
            left_out[name] = tuple(one.left_out)
    scores = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))
    return Run(
        suite=record.suite,
        method=record.method,
        name=record.run,
        path=path,
        prompts=tuple((prompt.id, prompt.text) for prompt in record.prompts),
        samples=record.samples,
        n_images=record.images,
        trained_on=tuple(record.trained_on),
        metrics={facts.name: facts for facts in sorted(metrics.values(), key=metric_order)},
        scores=tidy_types(scores),
        conditions=dict(record.conditions),
        notes={name: list(notes) for name, notes in record.notes.items()},
        title=record.title,
        tags={prompt.id: tuple(prompt.tags) for prompt in record.prompts if prompt.tags},
        cluster=record.cluster,
        given=record.name,
        left_out=left_out,
        tuned=record.tuned,
        searched=record.searched,
        common=record.common,
    )


def _place(kind: str, prompt_id: str, sample: int) -> tuple[str | None, int | None]:
    return (None if kind == "set" else prompt_id), (sample if kind == "image" else None)


def _reason(one: MetricRecord, prompt_id: str, sample: int) -> str | None:
    return one.reasons.get(f"{'' if one.kind == 'set' else prompt_id}/{sample}")


@dataclass(frozen=True, slots=True)
class Stated:
    """A record as it was read, with the digest that its file states."""

    record: Record
    sha256: str
    path: Path


def read_record(path: Path) -> Stated:
    """Read a record file. UsageError: not JSON, not a record, or a field that cannot be."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path}: larger than {MOST_BYTES // 2**20} MiB, which no record is")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({system_reason(error)})") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON ({error})") from None
    if not isinstance(data, dict) or "record_version" not in data:
        raise UsageError(f"{path}: not a record of `bench leaderboard`")
    if data["record_version"] != RECORD_VERSION:
        raise UsageError(f"{path}: record_version {data['record_version']!r}, this version reads {RECORD_VERSION}")
    stated = data.pop("sha256", "")
    try:
        return Stated(Record.model_validate(data), str(stated), path)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None


def record_files(folder: Path) -> Sequence[Path]:
    """The JSON files below a folder that may be records: those in its `records`, where it has that, else all."""
    inner = folder / "records"
    return sorted((inner if inner.is_dir() else folder).rglob("*.json"))
