"""What the identity cards of two values have in common, field by field. Pure; cards are plain data, as stored.

Two values may stand side by side when everything that decides them is equal: version, unit, label, weights, settings,
options, and for set metrics the reference. Versions of libraries are told, not judged. Files are told by their content:
a file of weights, or a reference image, that was renamed is the same one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.store.atomic import to_json

_PLAIN = ("version", "unit", "label")
_SHOWN = 3
ABSENT = "not stated"


def identity_of(card: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a card that decides values, fit for a summary."""
    return {key: card[key] for key in (*_PLAIN, "weights", "settings", "asked") if key in card}


def with_reference(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card of a metric that others scored: one of sets says where its reference images are not stated."""
    told = card.get("kind") != "set" or (card.get("asked") or {}).get("reference")
    return dict(card) if told else {**card, "asked": {"reference": ABSENT}}


def card_in_summary(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The card in a metric's entry of a summary; older summaries have only what the entry itself says of it."""
    own = {name: entry.get(name) for name in _PLAIN}
    return {**(entry.get("card") or {}), **own, "digest": entry.get("card_digest")}


def card_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """The fields in which two cards differ, as one clause with both values; "" where they do not.

    Of many fields the first three are shown. Where the digests differ and the cards do not say why, the digests.
    """
    digests = _digest(a), _digest(b)
    stated = all(isinstance(card.get(name), Mapping) for card in (a, b) for name in ("weights", "settings"))
    fields = [
        f"{name} {_shown(a.get(name) or ABSENT)} against {_shown(b.get(name) or ABSENT)}"
        for name in _PLAIN
        if (a.get(name) or "") != (b.get(name) or "")
    ]
    if not all(digests) or digests[0] != digests[1]:
        fields += _table_fields(a, b)
    fields += _asked_fields(a, b)
    if not fields and not stated and all(digests) and digests[0] != digests[1]:
        fields = [f"card {digests[0][:8]} against {digests[1][:8]}"]
    more = len(fields) - _SHOWN
    return ", ".join(fields[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _digest(card: Mapping[str, Any]) -> str:
    return str(card.get("digest") or "")


def _table_fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    for name, first, second in _pairs(*_renamed(a.get("weights"), b.get("weights")), "weights"):
        what = "weights" if name == "weights" else f"weights file {name.removeprefix('weights.')}: sha256"
        yield f"{what} {_short(first)} against {_short(second)}"
    for name, first, second in _pairs(a.get("settings"), b.get("settings"), "settings"):
        yield f"{name} {_shown(first)} against {_shown(second)}"


def _renamed(a: Any, b: Any) -> tuple[Any, Any]:
    """Two tables of files without those that only their names tell apart. A file that both have keeps its role."""
    if not isinstance(a, Mapping) or not isinstance(b, Mapping):
        return a, b
    alone = [sorted(str(one[name]) for name in one.keys() - other.keys()) for one, other in ((a, b), (b, a))]
    if not alone[0] or alone[0] != alone[1]:
        return a, b
    both = a.keys() & b.keys()
    return {name: a[name] for name in a if name in both}, {name: b[name] for name in b if name in both}


def _asked_fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    """What was asked for beyond the card, of what both say: the reference; and the options that no setting repeats,
    where the cards differ or have no settings at all. Otherwise equal cards were made by two ways to ask for the same.

    A reference that others do not state may be any, so that it equals none. A scope, which only cards of values that
    were scored here have, is compared with none only where the cards do not say the same by themselves.
    """
    first, second = a.get("asked"), b.get("asked")
    if any(isinstance(asked, Mapping) and asked.get("reference") == ABSENT for asked in (first, second)):
        yield f"reference images: {ABSENT}"
        return
    if not isinstance(first, Mapping) or not isinstance(second, Mapping):
        untold = None in (a.get("scope"), b.get("scope"))
        alike = all((a.get(name) or {}) == (b.get(name) or {}) for name in ("weights", "settings"))
        if a.get("scope") != b.get("scope") and _digest(a) == _digest(b) and not (untold and alike):
            yield f"scope {_shown(a.get('scope', ABSENT))} against {_shown(b.get('scope', ABSENT))}"
        return
    stated = {**dict(a.get("settings") or {}), **dict(b.get("settings") or {})}
    differ = not stated or not _digest(a) or _digest(a) != _digest(b)
    for name, one, other in _pairs(first.get("options"), second.get("options"), "options"):
        if differ and name.removeprefix("options.") not in stated and ABSENT not in (one, other):
            yield f"{name} {_shown(one)} against {_shown(other)}"
    if "reference" in first and "reference" in second:
        one_reference, other_reference = _images(first["reference"], second["reference"])
        for name, one, other in _pairs(one_reference, other_reference, "reference"):
            yield f"{name} {_shown(one)} against {_shown(other)}"


def _images(a: Any, b: Any) -> tuple[Any, Any]:
    """Two references without their files' names where both say what their images are without them."""
    if not (isinstance(a, Mapping) and isinstance(b, Mapping)):
        return a, b
    named = "content" if "images" in a and "images" in b else "images"  # what the other does not say is not compared
    first, second = ({key: value for key, value in one.items() if key != named} for one in (a, b))
    return first, second


def _pairs(a: Any, b: Any, what: str) -> Iterator[tuple[str, Any, Any]]:
    """Name and values of the entries in which two tables differ; of two values, the values."""
    a, b = ({} if table is None else table for table in (a, b))
    if not isinstance(a, Mapping) or not isinstance(b, Mapping):
        if a != b:
            yield what, a, b
        return
    for name in dict.fromkeys((*a, *b)):
        first, second = a.get(name, ABSENT), b.get(name, ABSENT)
        if first != second:
            yield f"{what}.{name}", first, second


def _short(digest: Any) -> str:
    text = _shown(digest)
    return text if text == ABSENT else text[:8]


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def library_difference(cards: Sequence[Mapping[str, Any]]) -> str:
    """Libraries that are there in different versions, such as "torch 2.14.0 against 2.15.0"; "" for none."""
    names = dict.fromkeys(name for card in cards for name in card.get("libraries") or {})
    found = []
    for name in names:
        versions = dict.fromkeys(str(table[name]) for card in cards if name in (table := card.get("libraries") or {}))
        if len(versions) > 1:
            found.append(f"{name} {' against '.join(versions)}")
    return ", ".join(found)


def same_card(stored: Mapping[str, Any], card: Mapping[str, Any]) -> bool:
    """Whether values made under the one card stand beside values of the other (see `RunStore.append_scores`)."""
    if "digest" in stored and "digest" in card:
        if stored.get("scope") != card.get("scope"):
            return False
        return bool(stored["digest"] == card["digest"]) or not card_difference(stored, card)
    return to_json(stored) == to_json(card)
