"""The parts of the page that are written on the server: metric cards, protocol, provenance. Plain text, not escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from bench.analysis.table.caveats import noted
from bench.analysis.table.common_noise import leading
from bench.analysis.table.sweeps import GUIDANCE, parameters
from bench.formatting import without_folders
from bench.reporting.cells import number

if TYPE_CHECKING:
    from bench.analysis.table.rows import Row, Table
    from bench.store.records import Manifest
    from bench.store.runs import MetricFacts

Pairs = list[tuple[str, str]]

_KINDS = {
    "image": "one value per image",
    "group": "one value per prompt, over its images",
    "set": "one value for all images against a reference set",
}


def plain(value: Any) -> str:
    """A setting as text: lists in order, tables as "key value", true and false as yes and no; paths without folders."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(one)}" for key, one in value.items() if one not in (None, {}, []))
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plain, value))
    return f"{value:.6g}" if isinstance(value, float) else without_folders(str(value))


def metric_card(table: Table, facts: MetricFacts) -> dict[str, Any]:
    """Everything that decides a metric's values, for its card in the page."""
    card = facts.card
    asked = card.get("asked") or {}
    options = {k: v for k, v in (asked.get("options") or {}).items() if k not in (card.get("settings") or {})}
    rows: Pairs = [
        ("Values", f"{_KINDS.get(facts.kind, facts.kind)}; {facts.direction} is better"),
        ("Unit", facts.unit or "not stated"),
        ("Range", _bounds(card)),
        ("Values scored", _counts(table, facts)),
        ("Weights from", _source(card)),
        ("Reference", plain(asked["reference"]) if asked.get("reference") else ""),
        ("Options", plain(options)),
        ("Licence", str(card.get("licence") or "")),
        ("Source", str(card.get("citation") or "")),
    ]
    return {
        "facts": facts,
        "rows": [(term, text) for term, text in rows if text],
        "weights": sorted((card.get("weights") or {}).items()),
        "settings": [(key, plain(value)) for key, value in (card.get("settings") or {}).items()],
        "libraries": [(key, str(value)) for key, value in (card.get("libraries") or {}).items()],
        "notes": [f"{of}: {said}" if of else said for said, of in noted(table, facts)],
        "trained": [row.name for row in table.rows if row.in_reward(facts.name)],
    }


def _bounds(card: Mapping[str, Any]) -> str:
    low, high = card.get("low"), card.get("high")
    if low is None and high is None:
        return "unbounded" if "low" in card else ""
    left = "(−∞" if low is None else f"[{number(float(low), 0 if float(low).is_integer() else 2)}"
    right = "∞)" if high is None else f"{number(float(high), 0 if float(high).is_integer() else 2)}]"
    return f"{left}, {right}"


def _counts(table: Table, facts: MetricFacts) -> str:
    cells = [row.cells[facts.name] for row in table.rows if facts.name in row.cells]
    counts, lost = sorted({cell.n for cell in cells}), sum(cell.n_unscored for cell in cells)
    if not counts:
        return ""
    text = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    text = f"N = {text} images" if facts.kind == "set" else f"n = {text} per method"
    missing = len(table.rows) - len(cells)
    text += f"; {lost:,} unscored" if lost else ""
    return text + (f"; not scored for {missing} of {len(table.rows)} methods" if missing else "")


def _source(card: Mapping[str, Any]) -> str:
    """Where weights come from; of a folder on the machine that scored only the last part of its name."""
    source = str(card.get("source") or "")
    if PurePath(source).is_absolute() or "\\" in source:
        source = f"local files ({PurePath(source.replace(chr(92), '/')).name})"
    published = str(card.get("published") or "")
    if published and card.get("label"):
        return f"{source}; the published ones are {published}" if source else f"published: {published}"
    return source or published


def protocol(table: Table) -> Pairs:
    """How images were made and judged, as far as it is on record; whose is not is said."""
    run = leading(table.rows).run
    manifest = run.store.manifest() if run.store else None
    suite: Mapping[str, Any] = (manifest.resolved_suite if manifest else None) or {}
    rows: Pairs = [
        ("Suite", table.suite),
        ("Prompts", f"{len(run.prompts):,} (digest {run.prompts_digest})"),
        ("Prompt set", plain(suite.get("prompts") or "")),
        ("Images", f"{run.samples} per prompt, {run.n_images:,} per method"),
        ("Model", plain(suite.get("model") or "")),
        ("Sampler", _shared(table, "sampler")),
        ("Guidance of the base model", plain(suite.get("guidance") or "")),
        ("Resolution", _shared(table, "resolution", " px")),
        ("Precision", _shared(table, "dtype")),
        ("Seed", _shared(table, "seed")),
        ("Noise", _noise(table)),
        ("Reference set", plain(suite.get("reference") or "")),
    ]
    return [(term, text) for term, text in rows if text]


def _shared(table: Table, key: str, unit: str = "") -> str:
    """A condition of sampling, which comparable runs agree in where they have it; names those that do not have it."""
    without = [row.name for row in table.rows if row.run.conditions.get(key) is None]
    if len(without) == len(table.rows):
        return ""
    value = next(row.run.conditions[key] for row in table.rows if row.run.conditions.get(key) is not None)
    return plain(value) + unit + (f" (not on record: {', '.join(without)})" if without else "")


def _noise(table: Table) -> str:
    if table.same_noise:
        return "a function of (seed, prompt, sample, step) alone: the same for all methods"
    return "not on record for all methods: see the notes"


_OTHER_BITS = {"compile": "torch.compile", "fused": "LoRA fused into the weights"}
"""Keys of an identity that change the last bits of pictures, and how they are said."""


def origins(table: Table) -> list[dict[str, Any]]:
    """Per method: where its images came from."""
    return [_origin(row) for row in table.rows]


def _origin(row: Row) -> dict[str, Any]:
    manifest: Manifest | None = row.run.store.manifest() if row.run.store else None
    made = (manifest.provenance if manifest else None) or {}
    identity = (manifest.identity if manifest else None) or {}
    git = made.get("git") or {}
    commit = str(git.get("commit") or "")[:10] + (" with changes" if git.get("dirty") else "")
    given = {key: value for key, value in parameters(row).items() if key not in GUIDANCE}
    given |= {f"guidance of {key}": plain(value) for key, value in (identity.get("guidance") or {}).items()}
    given |= {what: "yes" for key, what in _OTHER_BITS.items() if identity.get(key)}
    given.pop("weights", None)
    weights = str(((manifest.resolved_method if manifest else None) or {}).get("weights") or "")
    pin = _pin(weights, made.get("commits") or {})
    if PurePath(weights).is_absolute():
        weights = PurePath(weights).name
    tuned = str(identity.get("tuned") or "")
    return {
        "row": row,
        "run": row.run.name,
        "settings": ", ".join(f"{key} {value}" for key, value in given.items()),
        "weights": weights + pin,
        "digest": tuned,
        "trained_on": ", ".join(row.run.trained_on),
        "created": str(made.get("created") or "").replace("T", " ").replace("+00:00", " UTC"),
        "device": str(made.get("device") or ""),
        "commit": commit,
    }


def _pin(weights: str, commits: Mapping[str, str]) -> str:
    """Which commit of the hub weights without a revision came from; "" for pinned and for local ones."""
    if weights not in commits or "@" in weights:
        return ""
    return f" (not pinned; commit {commits[weights][:12]})"


def environments(table: Table) -> list[tuple[str, Pairs]]:
    """(methods, versions) of each set of versions that runs were made with; usually one."""
    found: dict[str, tuple[list[str], Pairs]] = {}
    for row in table.rows:
        made = (row.run.store.manifest().provenance if row.run.store else None) or {}
        pairs = [(key, str(made[key])) for key in ("python", "platform") if made.get(key)]
        pairs += [(str(key), str(value)) for key, value in (made.get("packages") or {}).items()]
        if pairs:
            found.setdefault(repr(pairs), ([], pairs))[0].append(row.name)
    return [(_listed(names, len(table.rows)), pairs) for names, pairs in found.values()]


def _listed(names: Iterable[str], everyone: int) -> str:
    given = list(names)
    return "all methods" if len(given) == everyone else ", ".join(given)
