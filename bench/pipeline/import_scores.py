"""Scores that others computed, taken as a run: a CSV of prompt, sample, metric and value, with a card that says whose.

Such a run has no pictures. It is marked as not scored here in its manifest, on every one of its metrics and in every
record of it, and it stands beside runs that were scored here only where the cards of both say the same.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictStr, ValidationError, model_validator

from bench.analysis.summary import summarise
from bench.errors import UsageError, unknown
from bench.formatting import counted, one_line, without_folders
from bench.runtime import provenance
from bench.runtime.log import get_logger
from bench.store.atomic import read_bytes
from bench.store.cards import with_reference
from bench.store.names import check_given, give_name
from bench.store.records import MOST_SAMPLES, Manifest, ScoreRow
from bench.store.run_store import RunStore, lock_runs
from bench.suite.load import load_suite
from bench.suite.plan import hash8
from bench.suite.prompts import load_prompts
from bench.suite.schema import Suite
from prompts import Prompt, digest

logger = get_logger(__name__)

COLUMNS = ("prompt", "sample", "metric", "value")
REASON = "no value was given"
_SHOWN = 3
Key = tuple[str | None, int | None]


class _MetricCard(BaseModel):
    """What the card says of a metric; what is not said differs from every card that says it."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["image", "group", "set"]
    direction: Literal["higher", "lower"]
    title: StrictStr = ""
    unit: StrictStr = ""
    version: StrictStr = ""
    label: StrictStr | None = None
    digest: StrictStr = ""
    weights: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    # without one it is left out, so that the run of such a card keeps its id
    reference: dict[str, JsonValue] | StrictStr | None = Field(default=None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _of_sets(self) -> _MetricCard:
        if self.reference is not None and self.kind != "set":
            raise ValueError("only a set metric has a reference")
        return self


class _Card(BaseModel):
    """The whole card: who scored, and each metric."""

    model_config = ConfigDict(extra="forbid")
    source: Annotated[StrictStr, Field(min_length=1)]
    trained_on: list[StrictStr] = []
    metrics: Annotated[dict[str, _MetricCard], Field(min_length=1)]


@dataclass(frozen=True)
class _Given:
    """The values of a file: metric -> key -> value with its reason; and what they were read from."""

    values: Mapping[str, Mapping[Key, tuple[float, str | None]]]
    samples: int
    sha256: str


def import_scores(
    file: Path | str,
    card: Path | str,
    *,
    suite: Suite | str | Path,
    name: str,
    prompts: Path | str | None = None,
    prompt_column: str | None = None,
    results: Path | str = Path("results"),
) -> RunStore:
    """Take the scores of a CSV file as a finished run without pictures. Does what `bench import-scores` does.

    Columns: prompt (an id or a text of the suite's prompts, or of `prompts`), sample (0 to K-1; empty for a group
    metric), metric, value (empty where there is none), and reason if you like. `card` is TOML or JSON: `source` (who
    scored, with what), `trained_on`, and a table `metrics.NAME` each with kind, direction, and as far as known title,
    unit, version, label, digest, weights and settings, and for a set metric `reference`, its reference images. A metric
    is compared with that of runs that were scored here only where these are equal to theirs.

    Raises UsageError, one sentence each: a column, prompt, sample, metric or value that cannot be, or a row twice.

    >>> import bench
    >>> from pathlib import Path
    >>> folder = Path(OUT)
    >>> folder.mkdir()
    >>> card = "source = 'a colleague'\\n[metrics.mine]\\nkind = 'image'\\ndirection = 'higher'\\n"
    >>> files = {"s.csv": "prompt,sample,metric,value\\na cat,0,mine,0.5\\n", "card.toml": card, "p.txt": "a cat\\n"}
    >>> sizes = [(folder / name).write_text(text) for name, text in files.items()]
    >>> given = {"suite": "images", "prompts": folder / "p.txt", "name": "theirs", "results": folder}
    >>> bench.import_scores(folder / "s.csv", folder / "card.toml", **given).manifest().complete
    True
    """
    check_given(name)
    given = _read_card(Path(card))
    chosen = suite if isinstance(suite, Suite) else load_suite(suite)
    chosen = chosen.override(prompts=None if prompts is None else str(prompts), prompt_column=prompt_column)
    listed = load_prompts(chosen.prompts, chosen.prompt_column)[: chosen.limit]
    found = _read_values(Path(file), given, listed)
    facts = json.dumps(given.model_dump(), sort_keys=True)
    identity = {
        "scores": hashlib.sha256(f"{found.sha256}\n{facts}".encode()).hexdigest(),
        "prompts": digest(listed),
    }
    store = RunStore.create(Path(results), chosen.name, name, hash8(identity))
    with lock_runs([store]):
        if not (store.exists() and store.manifest().complete):
            _fill(store, chosen, name, given, found, listed, identity)
        give_name(store, name, Path(results))
    return store


def _read_card(path: Path) -> _Card:
    text = _text(path)
    try:
        data = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return _Card.model_validate(data)
    except (ValueError, RecursionError) as error:
        if not isinstance(error, ValidationError):
            raise UsageError(
                one_line(f"{path}: not {'JSON' if path.suffix == '.json' else 'TOML'} ({error})")
            ) from None
        first = error.errors(include_url=False, include_input=False)[0]
        raise UsageError(
            f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
        ) from None


def _text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None


def _read_values(path: Path, card: _Card, prompts: Sequence[Prompt]) -> _Given:
    text = _text(path)
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        head, lines = reader.fieldnames or [], [(reader.line_num, line) for line in reader]
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
    absent = [column for column in COLUMNS if column not in head]
    if absent:
        raise UsageError(f"{path} has no column {', '.join(absent)}: its columns are {', '.join(map(str, head))}")
    if not lines:
        raise UsageError(f"{path} holds no values")
    values: dict[str, dict[Key, tuple[float, str | None]]] = {}
    ids = _ids(prompts)
    for number, line in lines:
        where = f"{path}, line {number}"
        if None in line:
            raise UsageError(f"{where}: more fields than the {len(head)} columns: put commas in quotes")
        metric = (line["metric"] or "").strip()
        if metric not in card.metrics:
            raise UsageError(f"{where}: {unknown('metric', metric, card.metrics)}")
        key = _key(line, card.metrics[metric].kind, ids, where)
        own = values.setdefault(metric, {})
        if key in own:
            raise UsageError(f"{where}: a second value of {metric} for {_named(key)}")
        own[key] = _value(line, where)
    without = [metric for metric in card.metrics if metric not in values]
    if without:
        raise UsageError(f"{path} holds no value of {', '.join(without)}, which the card describes")
    samples = 1 + max([key[1] for own in values.values() for key in own if key[1] is not None], default=0)
    _tell_missing(path, values, card, prompts, samples)
    return _Given(values, samples, hashlib.sha256(text.encode()).hexdigest())


def _ids(prompts: Sequence[Prompt]) -> dict[str, str]:
    """Id or text -> id; a text that several prompts have means none of them."""
    texts = [prompt.text for prompt in prompts]
    by_text = {prompt.text: prompt.id for prompt in prompts if texts.count(prompt.text) == 1}
    return {**by_text, **{prompt.id: prompt.id for prompt in prompts}}


def _key(line: Mapping[str, Any], kind: str, ids: Mapping[str, str], where: str) -> Key:
    prompt, sample = (str(line[column] or "").strip() for column in ("prompt", "sample"))
    if kind == "set":
        if prompt or sample:
            raise UsageError(f"{where}: a set metric has one value, without prompt and sample")
        return None, None
    if prompt not in ids:
        raise UsageError(f"{where}: {one_line(prompt)!r} is no prompt of this suite, by id or by a text that one has")
    if kind == "group":
        if sample:
            raise UsageError(f"{where}: a group metric has one value for the images of a prompt: leave sample empty")
        return ids[prompt], None
    if not (sample.isascii() and sample.isdigit() and len(sample) <= len(str(MOST_SAMPLES))):
        raise UsageError(f"{where}: sample {sample!r} must be a number from 0")
    return ids[prompt], int(sample)


def _value(line: Mapping[str, Any], where: str) -> tuple[float, str | None]:
    text, reason = str(line["value"] or "").strip(), str(line.get("reason") or "").strip()
    if text.lower() in ("", "nan", "null", "none"):
        return math.nan, without_folders(one_line(reason)) or REASON
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{where}: value {text[:40]!r} must be a number, or empty where there is none") from None
    if not math.isfinite(value):
        raise UsageError(f"{where}: value {text!r} must be finite, or empty where there is none")
    return value, None


def _named(key: Key) -> str:
    return "the set" if key[0] is None else key[0] + (f", sample {key[1]}" if key[1] is not None else "")


def _tell_missing(
    path: Path,
    values: Mapping[str, Mapping[Key, tuple[float, str | None]]],
    card: _Card,
    prompts: Sequence[Prompt],
    samples: int,
) -> None:
    """Say where values are absent; they are unscored, never averaged."""
    for metric, own in values.items():
        kind = card.metrics[metric].kind
        expected = {"image": len(prompts) * samples, "group": len(prompts), "set": 1}[kind]
        if len(own) < expected:
            has = {prompt for prompt, _ in own}
            without = [prompt.id for prompt in prompts if prompt.id not in has]
            shown = ", ".join(without[:_SHOWN]) + (", ..." if len(without) > _SHOWN else "")
            lost = f"; prompts without any: {shown}" if without else ""
            logger.warning(f"{path}: {metric} has {counted(len(own), 'value')} of {expected:,}{lost}")


def _fill(
    store: RunStore,
    suite: Suite,
    name: str,
    card: _Card,
    found: _Given,
    prompts: Sequence[Prompt],
    identity: dict[str, Any],
) -> None:
    note = f"not scored here: values as given by {one_line(without_folders(card.source))}"
    manifest = Manifest(
        suite=suite.name,
        method=name,
        run=store.name,
        identity=identity,
        resolved_suite=suite.resolved(),
        resolved_method={"name": name, "title": name, "external": True, "scored_by": without_folders(card.source)},
        prompts=[{"id": one.id, "text": one.text, "tags": list(one.tags)} for one in prompts],
        samples=found.samples,
        trained_on=list(card.trained_on),
        provenance=provenance.collect(),
        notes={metric: [note] for metric in found.values},
    )
    store.write_manifest(manifest)
    for metric, own in found.values.items():
        said = {key: value for key, value in card.metrics[metric].model_dump().items() if value not in ("", None, {})}
        reference = said.pop("reference", None)
        said |= {"asked": {"reference": reference}} if reference else {}
        said = with_reference({"title": metric, **said, "name": metric})
        rows = [ScoreRow(*key, value, reason) for key, (value, reason) in own.items()]
        store.append_scores(metric, rows, said)
    summarise(store)
    manifest.status = "complete"
    store.write_manifest(manifest)
