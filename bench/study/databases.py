"""Which database has the votes of a study: study.db in its folder, or the PostgreSQL one that the folder names.

Whoever first serves, simulates or imports with `--database` writes the address, without its password, into
`study.database`; every later command reads it there. A password is taken from `--database`, from
BENCH_STUDY_DATABASE where that is the same address, or from where PostgreSQL's clients look (PGPASSWORD, ~/.pgpass).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from bench.errors import UsageError
from bench.formatting import counted, one_line
from bench.store.atomic import atomic_write
from bench.study.lines import DATABASE, NAMED

VARIABLE = "BENCH_STUDY_DATABASE"


def without_password(address: str) -> str:
    """An address without its password.

    >>> without_password("postgresql://me:secret@host/votes?password=x&sslmode=require")
    'postgresql://me@host/votes?sslmode=require'
    """
    try:
        parts = urlsplit(address)
    except ValueError:  # an address that is none may still hold a password
        return f"{address.partition('://')[0]}://..."
    user, at, host = parts.netloc.rpartition("@")
    query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key != "password"])
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}", query=query))


def named_database(folder: Path) -> str | None:
    """The address that a study's folder names, with a password where the environment has it; None: study.db."""
    try:
        named = (folder / NAMED).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {folder / NAMED}, which names the database of the votes: {error}") from None
    if not named.startswith(("postgresql://", "postgres://")):
        raise UsageError(
            f"{folder / NAMED} must hold the address of the votes' database (postgresql://...), not "
            f"'{one_line(named)[:40]}'"
        )
    given = os.environ.get(VARIABLE, "")
    return given if without_password(given) == named else named


def name_database(folder: Path, address: str) -> None:
    """Let a study's folder name its database. UsageError: there are votes in study.db, and one study has one place."""
    own = folder / DATABASE
    if own.exists() and (votes := _votes(own)):
        raise UsageError(
            f"{own} has {counted(votes, 'vote')} of this study already, and votes of one study lie in one place: go on "
            "without --database, or make a study of its own"
        )
    text = f"{without_password(address)}\n"
    if not (folder / NAMED).exists() or (folder / NAMED).read_text(encoding="utf-8") != text:
        atomic_write(folder / NAMED, text)


def _votes(file: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM bench_study_votes").fetchone()[0])
    except sqlite3.Error:
        return 0  # no table of votes
