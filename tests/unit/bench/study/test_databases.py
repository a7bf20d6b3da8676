"""A study's folder names the database of its votes, without its password."""

from __future__ import annotations

import pytest

import bench.study
from bench.errors import BenchError, UsageError
from bench.study.databases import VARIABLE, name_database, named_database, without_password
from bench.study.folder import Study
from bench.study.people import people_of
from bench.study.store import Answer, VoteStore
from bench.study.votes import read_votes

ADDRESS = "postgresql://me:secret@127.0.0.1:1/votes?connect_timeout=2"
SAFE = "postgresql://me@127.0.0.1:1/votes?connect_timeout=2"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (ADDRESS, SAFE),
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://a:b:c@[::1]:5/db?password=x&a=1", "postgresql://a@[::1]:5/db?a=1"),
        ("mysql://[me:secret@host", "mysql://..."),
    ],
)
def test_a_password_is_not_shown_or_kept(address: str, shown: str) -> None:
    assert without_password(address) == shown


def test_a_folder_names_its_database_and_the_environment_its_password(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert named_database(study.folder) is None
    name_database(study.folder, ADDRESS)
    assert (study.folder / "study.database").read_text() == f"{SAFE}\n"
    assert named_database(study.folder) == SAFE
    monkeypatch.setenv(VARIABLE, ADDRESS)
    assert named_database(study.folder) == ADDRESS
    monkeypatch.setenv(VARIABLE, "postgresql://me:other@elsewhere/votes")
    assert named_database(study.folder) == SAFE


def test_reading_goes_to_the_database_that_is_named_and_says_so(study: Study) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    name_database(study.folder, ADDRESS)
    for read in (read_votes, people_of):
        with pytest.raises(BenchError, match="the database cannot be used"):
            read(study.folder)


def test_votes_of_one_study_lie_in_one_place(study: Study, votes: VoteStore) -> None:
    votes.consent("r0001")
    name_database(study.folder, ADDRESS)  # there is a study.db, but no vote in it
    votes.add(Answer("r0001", study.plan["r0001"][0].item, "tie", True, 0, None))
    with pytest.raises(UsageError, match=r"study\.db has 1 vote of this study already"):
        name_database(study.folder, ADDRESS)


def test_a_name_that_is_none_is_told(study: Study) -> None:
    (study.folder / "study.database").write_text("study.db\n")
    with pytest.raises(UsageError, match=r"must hold the address of the votes' database"):
        bench.study.simulate(study.folder)
    (study.folder / "study.database").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot read"):
        read_votes(study.folder)
