"""The values in a run's folder: a card and files of rows for each metric."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.formatting import is_safe_name
from bench.runtime.log import ONCE, get_logger
from bench.store.atomic import remove_folder, to_json
from bench.store.cards import card_difference, same_card
from bench.store.digests import read_protected, tell_unprotected, write_protected
from bench.store.locks import locked, locking
from bench.store.parts import part_files, read_parts, write_part
from bench.store.records import LEFT_OUT, PART, SCORE_COLUMNS, ScoreRow, last_wins
from metrics.types import corrected_name

logger = get_logger(__name__)


class ScoreFiles:
    """`scores/<metric>/{card.json,part-*.parquet,left_out-*.parquet}` of a run, and the run's lock."""

    def __init__(self, path: Path | str, name: str | None = None) -> None:
        self.path = Path(path)
        self._name = name  # while it is made beside the run that it is to replace
        self._unsynced: set[Path] = set()

    @property
    def name(self) -> str:
        """`<method>@<hash8>`."""
        return self._name or self.path.absolute().name

    @locking
    def append_scores(self, metric: str, rows: Iterable[ScoreRow], card: Mapping[str, Any]) -> None:
        """Record values of a metric; those recorded under another card (version, weights, settings) are dropped first.

        Cards are told apart by their `digest`, and by `scope`, a key that the scoring stage may add to say what the
        values of a group or set metric cover (such as the number of samples).
        """
        folder = self._scores(metric)
        old = self.usable_card(metric)
        if old is None:
            self.drop_scores(metric)  # values without a card are of nobody knows what
        if old is not None and not same_card(old, card):
            how = card_difference(old, card) or "what was asked for"
            logger.warning(f"{self.name}: the {metric} scores were computed differently ({how}) and are replaced")
            self.drop_scores(metric)
            old = None
        given = list(rows)
        # beside the values how many others belong to them: files of those can vanish on their own
        told: dict[str, Any] = {"notes": card["notes"]} if "notes" in card else {}
        told |= {LEFT_OUT: blocks} if (blocks := sum(row.left_out for row in given)) else {}
        wanted = {**(card if old is None else old), **told}
        if wanted != old:
            write_protected(folder / "card.json", to_json(wanted))
        # First what was left out: the row of the whole set says that all of it is there.
        for prefix, chosen in ((LEFT_OUT, True), (PART, False)):
            table = [dataclasses.asdict(row) for row in given if row.left_out is chosen]
            if table:
                write_part(folder, table, SCORE_COLUMNS, prefix, f"{self.name}/scores/{metric}")

    def scores(self, metric: str) -> list[ScoreRow]:
        """The values of a metric, one row per (prompt_id, sample); the last recorded wins."""
        return [row for row in self._score_rows(metric, PART) if not row.left_out]

    def left_out_scores(self, metric: str) -> list[ScoreRow]:
        """Of a set metric, the values with one block of prompts left out each: `sample` is the block's index.

        They lie in `left_out-*.parquet` beside the values; version 1 wrote them among the values.
        """
        rows = [*self._score_rows(metric, PART), *self._score_rows(metric, LEFT_OUT)]
        return last_wins(row for row in rows if row.left_out)

    def lacks_left_out(self, metric: str, card: Mapping[str, Any], rows: Sequence[ScoreRow] | None = None) -> bool:
        """Whether values with a block left out are gone that were there when the `card` of the values was written.

        `rows`: `left_out_scores`, where they were read already.
        """
        recorded = card.get(LEFT_OUT)
        if not isinstance(recorded, int):
            return False
        return len(self.left_out_scores(metric) if rows is None else rows) < recorded

    def _score_rows(self, metric: str, prefix: str) -> list[ScoreRow]:
        content = read_parts(self._scores(metric), SCORE_COLUMNS, prefix, f"{self.name}/scores/{metric}")
        if content.unprotected:
            tell_unprotected(self.path)
        return last_wins(ScoreRow(**row) for row in content.rows)

    def score_metrics(self) -> list[str]:
        """Names of the metrics that have values, sorted."""
        folders = (self.path / "scores").glob("[!.]*")
        return sorted(folder.name for folder in folders if folder.is_dir() and part_files(folder))

    def score_card(self, metric: str) -> dict[str, Any] | None:
        """The identity card that the stored values of a metric were made under, None without values."""
        return read_protected(self._scores(metric) / "card.json")

    def usable_card(self, metric: str) -> dict[str, Any] | None:
        """As `score_card`; a damaged card is none, and that is said: its values have to be made again."""
        try:
            return self.score_card(metric)
        except UsageError as error:
            logger.warning(f"{str(error).partition(': restore')[0]}: the {metric} values are made again", extra=ONCE)
            return None

    @locking
    def drop_scores(self, metric: str) -> None:
        """Forget all values of a metric, at once."""
        remove_folder(self._scores(metric))

    def _scores(self, metric: str) -> Path:
        check_name(corrected_name(metric))  # NAME@official is a folder of its own
        return self.path / "scores" / metric

    def parts(self) -> dict[str, list[str]]:
        """The names of all files of rows, by their folder in the run; a name carries the digest of its file."""
        folders = [self.path / "images", *(self._scores(metric) for metric in self.score_metrics())]
        found = {
            self._relative(folder): [path.name for prefix in (PART, LEFT_OUT) for path in part_files(folder, prefix)]
            for folder in folders
        }
        return {folder: names for folder, names in found.items() if names}

    def lock(self, *, clean: bool = True) -> contextlib.AbstractContextManager[None]:
        """Hold the run for writing: one process at a time, others wait and say so. Cleans what a killed run left.

        Entering it again in the same process is allowed. To hold several runs, use `lock_runs`.
        """
        return locked(self.path, f"another bench is working on {self.path}", clean=clean)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()


def check_name(name: str) -> None:
    """UsageError for a name that must not become a part of a path."""
    if not is_safe_name(name):
        raise UsageError(f"{name!r} is not safe as a file name: use 1 to 100 of A-Z a-z 0-9 . _ -, without '..'")
