"""Where votes are kept: SQLite in the study's folder, or PostgreSQL for many raters at a time.

A vote is acknowledged after its transaction is on the disk (WAL with synchronous=FULL; PostgreSQL's
synchronous_commit). A rater's first answer to an item stands: a second one, replayed or from another tab, is dropped.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.errors import BenchError, MissingError, UsageError
from bench.study.databases import named_database, without_password
from bench.study.folder import Study, open_study
from bench.study.lines import DATABASE

TABLES = (
    """CREATE TABLE IF NOT EXISTS bench_study_votes (
        study TEXT NOT NULL, rater TEXT NOT NULL, item TEXT NOT NULL, choice TEXT NOT NULL, a_left INTEGER NOT NULL,
        position INTEGER NOT NULL, seconds DOUBLE PRECISION, stored DOUBLE PRECISION NOT NULL, source TEXT NOT NULL,
        chance DOUBLE PRECISION, PRIMARY KEY (study, rater, item))""",
    """CREATE TABLE IF NOT EXISTS bench_study_raters (
        study TEXT NOT NULL, rater TEXT NOT NULL, state TEXT NOT NULL, since DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (study, rater))""",
    """CREATE TABLE IF NOT EXISTS bench_study_orders (
        study TEXT NOT NULL, rater TEXT NOT NULL, shown TEXT NOT NULL, PRIMARY KEY (study, rater))""",
)
_COLUMNS = {  # the columns of the votes' table, by the mark of the database's parameters
    "?": "SELECT name FROM pragma_table_info('bench_study_votes')",
    "%s": "SELECT attname FROM pg_attribute WHERE attrelid = 'bench_study_votes'::regclass AND NOT attisdropped",
}
CHOICES = ("left", "right", "tie")
CONSENTED, FORGOTTEN = "consented", "forgotten"
SIMULATED = "simulated"


class NotStoredError(BenchError):
    """The database refused to store: a full disk, a lost connection. Nothing of the transaction is kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as stored: `choice` is left, right or tie; `a_left`: method a stood left; `seconds` may be unknown."""

    rater: str
    item: str
    choice: str
    a_left: bool
    position: int
    seconds: float | None
    source: str = "web"
    chance: float | None = None  # of an adaptive study: the probability with which the item's pair was drawn

    @property
    def outcome(self) -> float:
        """1.0 where method a was chosen, 0.0 where b was, 0.5 for a tie."""
        if self.choice == "tie":
            return 0.5
        return float((self.choice == "left") == self.a_left)


class _Connection(Protocol):
    """One connection in autocommit mode: what SQLite's and psycopg's have in common."""

    def execute(self, query: Any, params: Any = ..., /) -> Any: ...

    def close(self) -> None: ...


class VoteStore:
    """The votes of one study. Safe to use from several threads; other processes may read and write at the same time."""

    def __init__(self, connect: Any, study: str, mark: str, errors: tuple[type[Exception], ...]) -> None:
        self._connect, self._study, self._mark, self._errors = connect, study, mark, errors
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._last: float | None = None  # when the newest vote was stored
        self._share = "" if mark == "?" else " FOR SHARE"
        for table in TABLES:
            self._run(table)
        if not self._has_chances():  # made before studies could be adaptive
            try:
                self._run("ALTER TABLE bench_study_votes ADD COLUMN chance DOUBLE PRECISION")
            except NotStoredError:
                if not self._has_chances():  # else another process has just done it
                    raise

    def _has_chances(self) -> bool:
        return "chance" in {row[0] for row in self._run(_COLUMNS[self._mark])}

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _run(self, query: str, *values: Any) -> Any:
        """Run one statement; its transaction is committed when this returns. A lost connection is opened again once."""
        text = query.replace("?", self._mark)
        with self._lock:
            for attempt in (1, 2):
                try:
                    if self._connection is None:
                        self._connection = self._connect()
                    cursor = self._connection.execute(text, values)
                    return cursor.fetchall() if cursor.description else cursor.rowcount
                except self._errors as error:
                    with suppress(Exception):
                        if self._connection is not None:
                            self._connection.close()
                    self._connection = None
                    full = "full" in str(error).lower() or "no space" in str(error).lower()
                    if attempt == 2 or full:
                        raise NotStoredError(_why(error, full)) from None
        raise AssertionError("not reached")

    def consent(self, rater: str) -> None:
        """Note that a rater has agreed; again changes nothing."""
        self._run(
            "INSERT INTO bench_study_raters (study, rater, state, since) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            *(self._study, rater, CONSENTED, time.time()),
        )

    def state(self, rater: str) -> str:
        """`consented`, `forgotten`, or "" for a rater who has not begun."""
        rows = self._run("SELECT state FROM bench_study_raters WHERE study = ? AND rater = ?", *(self._study, rater))
        return str(rows[0][0]) if rows else ""

    def add(self, answer: Answer) -> bool:
        """Store an answer, durably; False when this rater has answered the item before (that answer stands).

        One statement that also asks for the rater's consent, so that an answer on its way when `forget` runs is not
        stored behind it: SQLite has one writer at a time, PostgreSQL locks the row of the rater. NotStoredError when
        the database refuses.
        """
        stored = self._run(
            "INSERT INTO bench_study_votes "
            "(study, rater, item, choice, a_left, position, seconds, stored, source, chance) "
            "SELECT study, rater, CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS INTEGER), CAST(? AS INTEGER), "
            "CAST(? AS DOUBLE PRECISION), CAST(? AS DOUBLE PRECISION), CAST(? AS TEXT), CAST(? AS DOUBLE PRECISION) "
            f"FROM bench_study_raters WHERE study = ? AND rater = ? AND state = ?{self._share} ON CONFLICT DO NOTHING",
            *(answer.item, answer.choice, int(answer.a_left), answer.position, answer.seconds, self._now()),
            *(answer.source, answer.chance, self._study, answer.rater, CONSENTED),
        )
        return bool(stored == 1)

    def _now(self) -> float:
        """The time, and never before that of a vote that is there: looks are at the first so many votes."""
        if self._last is None:
            rows = self._run("SELECT MAX(stored) FROM bench_study_votes WHERE study = ?", self._study)
            self._last = float(rows[0][0] or 0.0)
        self._last = max(time.time(), self._last + 1e-6)  # a clock may be put back
        return self._last

    def answered(self, rater: str) -> set[str]:
        """The items that a rater has answered."""
        rows = self._run("SELECT item FROM bench_study_votes WHERE study = ? AND rater = ?", *(self._study, rater))
        return {str(row[0]) for row in rows}

    def keep_order(self, rater: str, shown: str) -> str:
        """Keep what was drawn for a rater; returns what is kept: the first that was drawn, "" for a forgotten rater."""
        self._run(
            "INSERT INTO bench_study_orders (study, rater, shown) "
            "SELECT CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT) WHERE NOT EXISTS "
            "(SELECT 1 FROM bench_study_raters WHERE study = ? AND rater = ? AND state = ?) ON CONFLICT DO NOTHING",
            *(self._study, rater, shown, self._study, rater, FORGOTTEN),
        )
        return self.order(rater)

    def order(self, rater: str) -> str:
        """What was drawn for a rater; "" for nothing."""
        rows = self._run("SELECT shown FROM bench_study_orders WHERE study = ? AND rater = ?", *(self._study, rater))
        return str(rows[0][0]) if rows else ""

    def orders(self) -> dict[str, str]:
        """What was drawn, by rater."""
        rows = self._run("SELECT rater, shown FROM bench_study_orders WHERE study = ?", self._study)
        return {str(rater): str(shown) for rater, shown in rows}

    def forget(self, rater: str) -> int:
        """Remove all rows of a rater and close the link; returns how many votes there were."""
        self._run(
            "INSERT INTO bench_study_raters (study, rater, state, since) VALUES (?, ?, ?, 0) "
            "ON CONFLICT (study, rater) DO UPDATE SET state = ?, since = 0",
            *(self._study, rater, FORGOTTEN, FORGOTTEN),
        )
        removed = self._run("DELETE FROM bench_study_votes WHERE study = ? AND rater = ?", *(self._study, rater))
        self._run("DELETE FROM bench_study_orders WHERE study = ? AND rater = ?", *(self._study, rater))
        if self._mark == "?":
            self._run("PRAGMA wal_checkpoint(TRUNCATE)")  # the rows are zeroed (secure_delete), and so is the log
        return int(removed)

    def raters(self) -> dict[str, str]:
        """The state of every rater who has begun, or was forgotten."""
        rows = self._run("SELECT rater, state FROM bench_study_raters WHERE study = ?", self._study)
        return {str(rater): str(state) for rater, state in rows}

    def counts(self) -> dict[str, tuple[int, float]]:
        """Rater -> number of votes, and when the last one was stored (seconds of the epoch)."""
        query = "SELECT rater, COUNT(*), MAX(stored) FROM bench_study_votes WHERE study = ? GROUP BY rater"
        return {str(row[0]): (int(row[1]), float(row[2])) for row in self._run(query, self._study)}

    def sources(self) -> dict[str, int]:
        """Where votes come from -> how many: web, simulated, bundle, csv, ..."""
        query = "SELECT source, COUNT(*) FROM bench_study_votes WHERE study = ? GROUP BY source"
        return {str(source): int(count) for source, count in self._run(query, self._study)}

    def answers(self) -> Iterator[Answer]:
        """All answers, in the order in which they were stored."""
        query = (
            "SELECT rater, item, choice, a_left, position, seconds, source, chance FROM bench_study_votes "
            "WHERE study = ? ORDER BY stored, rater, position"
        )
        for rater, item, choice, a_left, position, seconds, source, chance in self._run(query, self._study):
            yield Answer(rater, item, choice, bool(a_left), int(position), seconds, source, chance)


def _why(error: Exception, full: bool) -> str:
    if full:
        return (
            "the disk that holds the votes is full: nothing was lost, and answers can be sent again when there is room"
        )
    hint = ": is its disk full?" if "disk i/o error" in str(error).lower() else ""
    return f"the database cannot be used: {' '.join(str(error).split())}{hint}"


def open_votes(study: Study, database: str | None = None) -> VoteStore:
    """The votes of a study, in its own folder or in PostgreSQL (`postgresql://...`); the tables are made if need be.

    None: where the study's folder says (`bench.study.databases`).
    UsageError: another kind of address; MissingError: psycopg is not installed; NotStoredError: it cannot be reached.
    """
    database = database or named_database(study.folder)
    if database is None:
        return VoteStore(lambda: _sqlite(study.folder / DATABASE), study.id, "?", (sqlite3.Error,))
    if not database.startswith(("postgresql://", "postgres://")):
        raise UsageError(f"--database {without_password(database)} must begin with postgresql://")
    try:
        import psycopg
    except ImportError:
        raise MissingError('--database needs psycopg: run `pip install "imagerefl-bench[postgres]"`') from None

    def connect() -> _Connection:
        connection = psycopg.connect(database, autocommit=True, connect_timeout=10)
        connection.execute("SET synchronous_commit TO on")
        return connection

    return VoteStore(connect, study.id, "%s", (psycopg.Error,))


def _sqlite(path: Path) -> _Connection:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def rows(folder: Path | str, database: str | None = None) -> Iterator[dict[str, Any]]:
    """The votes of a study's folder as rows with the fields of `bench.study.votes.Vote`, and `source`.

    In the order in which they were stored. A vote on an item that the study does not have is a UsageError: the files
    are not those that the votes were given on.
    """
    study = open_study(folder)
    votes = open_votes(study, database)
    try:
        answers: Sequence[Answer] = list(votes.answers())
    finally:
        votes.close()
    yield from rows_of(study, answers)


def rows_of(study: Study, answers: Iterable[Answer]) -> Iterator[dict[str, Any]]:
    """Answers as such rows."""
    for answer in answers:
        item = study.items.get(answer.item)
        if item is None:
            raise UsageError(f"{study.folder} has a vote on item {answer.item}, which its items.jsonl does not name")
        yield {
            "item": item.item,
            "task": item.task,
            "rater": answer.rater,
            "prompt_id": item.prompt_id,
            "method_a": item.method_a,
            "method_b": item.method_b,
            "outcome": answer.outcome,
            "left": item.method_a if answer.a_left else item.method_b,
            "order": answer.position,
            "seconds": answer.seconds,
            "kind": item.kind,
            "source": answer.source,
            "chance": answer.chance,
        }
