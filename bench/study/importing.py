"""`bench study import`: answers that were given elsewhere become votes of the study."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import UsageError
from bench.formatting import counted, one_line
from bench.study.exporting import label_studio_handle
from bench.study.folder import Shown, Study, StudyItem
from bench.study.formats import BUNDLE, CODES, LABEL_STUDIO, PICK_A_PIC, PLAIN, Raw, read_answers
from bench.study.keys import Keys
from bench.study.orders import Orders
from bench.study.serving import opened
from bench.study.sessions import LONGEST
from bench.study.store import FORGOTTEN, SIMULATED, Answer, VoteStore

_TIES = ("tie", "0.5", "equal", "draw")


@dataclass
class Imported:
    """What became of a file's rows: stored, there already, and left out with the reason and how often."""

    kind: str
    rows: int
    stored: int = 0
    duplicates: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    sides_unknown: int = 0
    renamed: int = 0
    codes: tuple[int, int] | None = None  # of a platform's codes: of finished raters, of nobody

    def lines(self) -> list[str]:
        """The same in sentences."""
        if self.codes is not None:
            finished, unknown = self.codes
            begun = self.rows - finished - unknown
            return [
                f"{counted(self.rows, 'completion code')}, no answers (those are in the study already): {finished} of "
                f"raters who finished, {unknown} of nobody, {begun} of raters who did not finish"
            ]
        lines = [f"{counted(self.rows, 'row')} ({self.kind}): {counted(self.stored, 'answer')} stored"]
        if self.duplicates:
            lines.append(f"{counted(self.duplicates, 'duplicate')}: the rater has an answer to that item, which stands")
        lines += [f"{counted(count, 'row')} left out: {why}" for why, count in self.left_out.most_common()]
        if self.sides_unknown:
            lines.append(
                f"{counted(self.sides_unknown, 'answer')} without a side: it is drawn at random, so they say nothing "
                "of position bias"
            )
        if self.renamed:
            lines.append(f"{counted(self.renamed, 'rater')} of other names got random codes; the names are not stored")
        return lines


def import_answers(folder: Path | str, file: Path | str, *, database: str | None = None) -> Imported:
    """Take the answers in `file` into a study.

    Known files: a bundle's answers, Label Studio's JSON or JSON-MIN, tables with the columns of Pick-a-Pic (parquet or
    CSV), a plain CSV (rater, item, choice; or rater, task, prompt_id, method_a, method_b, choice, where choice is
    left, right, tie, a, b or a method), and the codes that Prolific and MTurk export, which are compared with those
    of raters who finished. An answer that is there stands. UsageError: another file, or no row that can be used.
    """
    kind, raws = read_answers(Path(file))
    study, keys, votes = opened(folder, database)
    try:
        if kind == CODES:
            return _codes(raws, study, keys, votes)
        if SIMULATED in votes.sources():
            raise UsageError(f"{folder} has votes of simulated raters, which must not mix with people's")
        done = _Import(study, keys, votes, kind, len(raws)).run(raws)
    finally:
        votes.close()
    if raws and not done.stored and not done.duplicates:
        raise UsageError(f"nothing of {file} can be used: {'; '.join(done.lines()[1:])}")
    return done


def _codes(raws: list[Raw], study: Study, keys: Keys, votes: VoteStore) -> Imported:
    codes = {keys.completion(rater): rater for rater in study.plan}
    counts = votes.counts()
    known = [codes[raw.rater] for raw in raws if raw.rater in codes]
    finished = sum(counts.get(rater, (0, 0.0))[0] >= study.total(rater) for rater in known)
    return Imported(CODES, len(raws), codes=(finished, len(raws) - len(known)))


class _Import:
    def __init__(self, study: Study, keys: Keys, votes: VoteStore, kind: str, rows: int) -> None:
        self.study, self.keys, self.votes, self.kind = study, keys, votes, kind
        self.done = Imported(kind, rows)
        self.names: dict[str, str] = {}
        self.orders: Counter[str] = Counter()
        self.states = votes.raters()
        self.known_orders = Orders(study, votes).all()
        self.position = {
            (rater, one.item): (i, one) for rater, order in self.known_orders.items() for i, one in enumerate(order)
        }
        self.handles = self._known_handles()
        self.by_pair: dict[tuple[str, ...], list[StudyItem]] = {}
        self.by_assets: dict[frozenset[str], StudyItem] = {}
        for item in study.items.values():
            if item.kind == "real":
                pair = sorted((item.method_a, item.method_b))
                for key in ((item.task, item.prompt_id), ("caption", item.task, item.prompt)):
                    self.by_pair.setdefault((*key, *pair), []).append(item)
            if item.kind in ("real", "check"):
                assets = frozenset(name.removesuffix(".png") for name in (item.asset_a, item.asset_b))
                self.by_assets.setdefault(assets, item)

    def _known_handles(self) -> dict[tuple[str, str], tuple[str, bool]]:
        """(rater, handle) -> item and whether a is on the left; the rater is "" in Label Studio."""
        if self.kind == BUNDLE:
            return {
                (rater, self.keys.item(rater, one.item)): (one.item, one.a_left)
                for rater, order in self.known_orders.items()
                for one in order
            }
        if self.kind == LABEL_STUDIO:
            return {
                ("", label_studio_handle(self.keys, name, a_left)): (name, a_left)
                for name in self.study.items
                for a_left in (True, False)
            }
        return {}

    def run(self, raws: list[Raw]) -> Imported:
        for raw in raws:
            why = raw.fault or self._take(raw)
            if why:
                self.done.left_out[why] += 1
        return self.done

    def _take(self, raw: Raw) -> str:
        """Store one answer; returns why it is left out, or ""."""
        found = self._item(raw)
        if isinstance(found, str):
            return found
        item, a_left = found
        rater = self._rater(raw.rater)
        choice, sided = self._choice(raw, item, a_left, rater)
        if not choice:
            return f"no answer: '{one_line(raw.choice)[:40]}'"
        if self.states.get(rater) == FORGOTTEN:
            return "the rater's answers were removed"
        planned = self.position.get((rater, item.item))
        chance, why = self._chance(raw, item, planned[1] if planned else None)
        if why:
            return why
        if not self.states.get(rater):
            self.votes.consent(rater)
            self.states[rater] = "consented"
        position = planned[0] if planned else self.orders[rater]
        self.orders[rater] += 1
        seconds = None if raw.seconds is None else min(max(raw.seconds, 0.0), LONGEST)
        stored = self.votes.add(Answer(rater, item.item, choice, sided, position, seconds, self.kind, chance))
        self.done.stored += stored
        self.done.duplicates += not stored
        self.done.sides_unknown += stored and a_left is None and not planned
        return ""

    def _chance(self, raw: Raw, item: StudyItem, planned: Shown | None) -> tuple[float | None, str]:
        """The chance that is stored with an answer; or why it cannot be one of this study."""
        chance = raw.chance if planned is None or planned.chance is None else planned.chance
        if item.kind != "real":
            return None, ""
        if self.study.adaptive is None:
            return None, "" if chance is None else "a chance, which votes of a study without --adaptive do not have"
        return chance, "" if chance is not None else "no chance on record, which every vote of an adaptive study needs"

    def _item(self, raw: Raw) -> tuple[StudyItem, bool | None] | str:
        """The item of an answer and whether a stood on the left (None: not known); or why there is none."""
        facts = raw.facts
        if "handle" in facts:
            if facts.get("study", self.study.id) != self.study.id:
                return "of another study"
            known = self.handles.get((raw.rater if self.kind == BUNDLE else "", facts["handle"]))
            return (self.study.items[known[0]], known[1]) if known else "unknown item"
        if self.kind == PICK_A_PIC:
            item = self.by_assets.get(frozenset((facts.get("image_0_uid", ""), facts.get("image_1_uid", ""))))
            pair = sorted((facts.get("model_0", ""), facts.get("model_1", "")))
            return self._only(item, ("caption", "preference", facts.get("caption", ""), *pair))
        item = self.study.items.get(facts.get("item", ""))
        pair = sorted((facts.get("method_a", ""), facts.get("method_b", "")))
        found = self._only(item, (facts.get("task", ""), facts.get("prompt_id", ""), *pair))
        if isinstance(found, str) or not (left := facts.get("left")):
            return found
        if left not in ("a", "b", found[0].method_a, found[0].method_b):
            return "a left side that is neither of the item's methods"
        return found[0], left in ("a", found[0].method_a)

    def _only(self, item: StudyItem | None, key: tuple[str, ...]) -> tuple[StudyItem, None] | str:
        if item is not None:
            return item, None
        fitting = self.by_pair.get(key, [])
        if len(fitting) > 1:
            return "several items fit: name the item"
        return (fitting[0], None) if fitting else "unknown item"

    def _choice(self, raw: Raw, item: StudyItem, a_left: bool | None, rater: str) -> tuple[str, bool]:
        """left, right, tie or "" for no answer, and whether a is on the left: as known, as planned, or by a coin."""
        planned = self.position.get((rater, item.item))
        known = a_left if a_left is not None else planned[1].a_left if planned else None
        sided = self._coin(rater, item.item) if known is None else known
        choice = raw.choice
        if choice.lower() in _TIES:
            return "tie", sided
        if choice in ("left", "right"):
            return (choice if known is not None else ""), sided
        a_won = {"a": True, "b": False, item.method_a: True, item.method_b: False}.get(choice)
        if self.kind == PICK_A_PIC and choice in ("first", "second"):
            a_won = (choice == "first") == self._first_is_a(raw, item)
        if a_won is None:
            return "", sided
        return ("left" if a_won == sided else "right"), sided

    def _first_is_a(self, raw: Raw, item: StudyItem) -> bool:
        first = raw.facts.get("image_0_uid", "")
        if f"{first}.png" in (item.asset_a, item.asset_b):
            return f"{first}.png" == item.asset_a
        return raw.facts.get("model_0") == item.method_a

    def _coin(self, rater: str, item: str) -> bool:
        return hashlib.sha256(f"{self.study.id}:{rater}:{item}".encode()).digest()[0] % 2 == 0

    def _rater(self, name: str) -> str:
        """A rater of the plan by its name, or a code that stands for a foreign name, which is not stored."""
        if self.kind in (BUNDLE, PLAIN) and name in self.study.plan:
            return name
        if name not in self.names:
            self.names[name] = self.keys.imported(self.kind, name)
            self.done.renamed += 1
        return self.names[name]
