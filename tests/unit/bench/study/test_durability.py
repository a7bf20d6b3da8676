"""The server as a process: killed in the middle, on PostgreSQL, with several raters at a time."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench.study
from bench.errors import BenchError
from bench.study.client import RaterClient
from bench.study.folder import Study
from bench.study.keys import Keys
from bench.study.orders import Orders
from bench.study.people import people_of
from bench.study.store import Answer, open_votes, rows
from bench.study.votes import read_votes

KILLS = 20
ROOT = Path(__file__).parents[4]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """`bench study serve` in a process of its own."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder, self.more, self.port = folder, more, free_port()
        self.process: subprocess.Popen[str] | None = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> list[str]:
        command = [sys.executable, "-m", "bench", "study", "serve", str(self.folder), "--port", str(self.port)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [*command, *self.more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(self.process.communicate()[1])
            lines.append(line)
        return lines

    def stop(self, with_signal: int = signal.SIGKILL) -> str:
        if self.process is None:
            return ""
        self.process.send_signal(with_signal)
        return self.process.communicate(timeout=30)[1]


@pytest.fixture
def server(study: Study) -> Iterator[Server]:
    one = Server(study.folder)
    yield one
    one.stop()


def vote_until_done(link: str, seed: int, acknowledged: list[tuple[str, str]], rater: str) -> None:
    """Answer everything, whatever happens to the server; note each answer that it said is stored."""
    rng = random.Random(seed)
    client = RaterClient(link, timeout=5.0)
    while True:
        try:
            client.open()
            state = client.state()
            if not state["consented"]:
                state = client.consent()
            while state["item"] is not None:
                reply = client.vote(state["item"]["id"], rng.choice(["left", "right", "tie"]), 1.0)
                acknowledged.append((rater, state["item"]["id"]))
                state = reply["state"]
                time.sleep(0.02)
            return
        except OSError:
            time.sleep(0.05)
        finally:
            client.close()


def wait_for_more(acknowledged: list[tuple[str, str]], count: int) -> None:
    """Until more answers are acknowledged than were: on a busy machine a rater takes seconds to come back."""
    until = time.monotonic() + 60
    while len(set(acknowledged)) <= count:
        assert time.monotonic() < until, "no rater came back after the server had started again"
        time.sleep(0.01)


@pytest.mark.slow
def test_no_acknowledged_vote_is_lost_in_twenty_kills(tmp_path: Path, server: Server) -> None:
    from tests.unit.bench.study.conftest import METHODS, RUNS

    folder = tmp_path / "large"
    study = bench.study.make(
        [RUNS / name for name in METHODS], folder, task="both", per_rater=24, votes=4, raters=40, seed=3
    )
    server.folder = folder
    keys = Keys.of(folder, study.plan)
    acknowledged: list[tuple[str, str]] = []
    server.start()
    stopped = threading.Event()
    raters = list(study.plan)

    def work(number: int) -> None:
        for rater in raters[number::3]:
            if not stopped.is_set():
                vote_until_done(f"{server.origin}/r/{keys.token(rater)}", number, acknowledged, rater)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    rng = random.Random(1)
    counts = []
    for _ in range(KILLS):
        wait_for_more(acknowledged, counts[-1] if counts else 0)
        time.sleep(rng.uniform(0.0, 0.2))
        before = set(acknowledged)
        server.stop(signal.SIGKILL)
        store = open_votes(study)
        stored = Counter((a.rater, keys.item(a.rater, a.item)) for a in store.answers())
        store.close()
        assert before <= set(stored), "an acknowledged vote is gone"
        assert max(stored.values(), default=1) == 1
        counts.append(len(before))
        server.start()
    stopped.set()
    for thread in threads:
        thread.join(timeout=60)
    assert counts == sorted(set(counts)), "every kill came after votes that the one before it had not seen"
    store = open_votes(study)
    stored = Counter((a.rater, keys.item(a.rater, a.item)) for a in store.answers())
    store.close()
    assert set(acknowledged) <= set(stored)
    assert max(stored.values()) == 1


def test_a_disk_that_is_full_is_told_and_a_vote_goes_through_when_there_is_room(study: Study, tmp_path: Path) -> None:
    own = ["unshare", "--map-root-user", "--mount"]  # a file system of 8 MiB that nobody else sees
    mounted = ["sh", "-c", 'mount -t tmpfs -o size=8m none "$0" && exec "$@"', str(tmp_path / "small")]
    (tmp_path / "small").mkdir()
    if not shutil.which("unshare") or subprocess.run([*own, *mounted, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system of their own (unshare)")
    copy = ["sh", "-c", 'cp -r "$0" "$1" && exec "$2" "$3" "$1/study"']
    rater = Path(__file__).with_name("full_disk.py")
    run = subprocess.run(
        [*own, *mounted, *copy, str(study.folder), str(tmp_path / "small"), sys.executable, str(rater)],
        capture_output=True, text=True, timeout=120, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["full"].startswith("507: Your answer could not be stored just now")
    assert (told["shown"], told["kept"]) == (3, 3)
    assert told["room"] == "stored: True"
    assert told["choices"] == ["left", "left", "left", "right"]


@pytest.mark.slow
def test_the_command_serves_on_loopback_and_says_where(server: Server, study: Study) -> None:
    lines = server.start()
    keys = Keys.of(study.folder, study.plan)
    assert f"{server.origin}/admin/{keys.admin()}" in lines[0]
    client = RaterClient(re.search(r"http\S+", lines[1])[0])  # type: ignore[index]
    client.open()
    assert client.consent()["item"]
    client.close()
    second = subprocess.run(
        [sys.executable, "-m", "bench", "study", "serve", str(study.folder), "--port", str(server.port)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60,
    )  # fmt: skip
    assert second.returncode == 2
    assert "choose another --host or --port" in second.stderr
    assert "Traceback" not in server.stop(signal.SIGINT)


def postgres_programs() -> tuple[str, str] | None:
    """initdb and postgres of this machine, where there are any."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    path = os.pathsep.join(folders)
    found = shutil.which("initdb", path=path), shutil.which("postgres", path=path)
    return (found[0], found[1]) if found[0] and found[1] else None


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of the tests' own; its address."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    programs = postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server on this machine (`apt-get install postgresql`)")
    folder = Path(tempfile.mkdtemp(prefix="study-postgres-"))  # beside pytest's folders, which are root's alone
    drop = []
    if os.geteuid() == 0:  # it refuses to run as root
        if subprocess.run(["id", "postgres"], capture_output=True).returncode != 0 or not shutil.which("setpriv"):
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres to run it as")
        drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        shutil.chown(folder, "postgres", "postgres")
    data, port = folder / "data", free_port()
    subprocess.run(
        [*drop, programs[0], "-D", str(data), "-U", "study", "-A", "trust", "--no-sync"],
        check=True,
        capture_output=True,
    )
    options = ["-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)]
    process = subprocess.Popen([*drop, programs[1], *options], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    address = f"postgresql://study:secret@127.0.0.1:{port}/postgres"
    try:
        _wait_for(address)
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(address: str) -> None:
    import psycopg

    for _ in range(100):
        try:
            psycopg.connect(address, connect_timeout=2).close()
            return
        except psycopg.Error:
            time.sleep(0.1)
    raise AssertionError("PostgreSQL does not answer")


@pytest.mark.slow
def test_votes_in_postgresql_are_those_of_sqlite(study: Study, postgres: str, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(study.folder, twin)
    done = bench.study.simulate(study.folder, raters=2, seed=4, database=postgres)
    assert done.votes == 34
    assert not (study.folder / "study.db").exists()
    assert bench.study.simulate(study.folder, raters=2, seed=4, database=postgres).votes == 0
    bench.study.simulate(twin, raters=2, seed=4)
    found = [{**row, "study": None} for row in rows(study.folder, postgres)]
    assert found == [{**row, "study": None} for row in rows(twin)]
    assert bench.study.forget(study.folder, "r0001", database=postgres) == 17
    assert {row["rater"] for row in rows(study.folder, postgres)} == {"r0002"}


@pytest.mark.slow
def test_claims_and_the_gate_read_the_database_that_the_study_names(postgres: str, tmp_path: Path) -> None:
    from tests.unit.bench.study.conftest import METHODS, RUNS

    study = bench.study.make([RUNS / name for name in METHODS], tmp_path / "own", per_rater=8, votes=3, seed=2)
    bench.study.simulate(study.folder, seed=4, database=postgres)
    assert "secret" not in (study.folder / "study.database").read_text()
    people = people_of(study.folder)
    assert people is not None
    rate, why = people.win_rate("human_preference", "refl")
    assert rate is not None, why
    assert rate.n == sum(
        row["kind"] == "real" and row["task"] == "preference" and "refl" in (row["method_a"], row["method_b"])
        for row in rows(study.folder, postgres)
    )
    assert bench.study.forget(study.folder, "r0001") == study.total("r0001")
    assert not (study.folder / "study.db").exists()


def test_an_answer_under_way_waits_for_forget_in_postgresql(study: Study, postgres: str) -> None:
    import psycopg

    item = study.plan["r0003"][0].item  # a rater who is in no other test of this database
    store, stored = open_votes(study, postgres), []
    store.consent("r0003")
    with psycopg.connect(postgres) as connection:  # forget, before its commit
        connection.execute(
            "UPDATE bench_study_raters SET state = 'forgotten' WHERE study = %s AND rater = 'r0003'", (study.id,)
        )
        answer = Answer("r0003", item, "left", True, 0, 1.0)
        thread = threading.Thread(target=lambda: stored.append(store.add(answer)))
        thread.start()
        thread.join(timeout=0.3)
        assert stored == [], "it waits until it is known whether the rater is forgotten"
    thread.join(timeout=30)
    kept = store.counts()
    store.close()
    assert stored == [False]
    assert "r0003" not in kept


def test_two_studies_share_a_database(made: Path, postgres: str, tmp_path: Path) -> None:
    from tests.unit.bench.study.conftest import METHODS, RUNS

    first = bench.study.make([RUNS / name for name in METHODS], tmp_path / "a", per_rater=4, seed=1)
    second = bench.study.make([RUNS / name for name in METHODS], tmp_path / "b", per_rater=4, seed=1)
    bench.study.simulate(first.folder, raters=1, database=postgres)
    assert list(rows(second.folder, postgres)) == []
    assert len(list(rows(first.folder, postgres))) > 4


@pytest.mark.slow
def test_an_adaptive_study_in_postgresql(postgres: str, tmp_path: Path) -> None:
    import psycopg

    from tests.unit.bench.study.conftest import METHODS, RUNS

    runs = [RUNS / name for name in METHODS]
    study = bench.study.make(runs, tmp_path / "a", per_rater=4, votes=6, adaptive=True, seed=1)
    shutil.copytree(study.folder, tmp_path / "twin")
    with psycopg.connect(postgres, autocommit=True) as connection:  # as it was before studies could be adaptive
        connection.execute("CREATE TABLE IF NOT EXISTS bench_study_votes (study TEXT, chance INTEGER)")
        connection.execute("ALTER TABLE bench_study_votes DROP COLUMN chance")
        if len(connection.execute("SELECT * FROM bench_study_votes LIMIT 0").description or ()) < 3:
            connection.execute("DROP TABLE bench_study_votes")
    stores = [open_votes(study, postgres) for _ in range(4)]
    drawn: list[object] = []
    threads = [threading.Thread(target=lambda s=one: drawn.append(Orders(study, s).of("r0001"))) for one in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 4
    assert len(set(drawn)) == 1, "whoever draws first has drawn for all"
    for one in stores:
        one.close()
    for folder, database in ((study.folder, postgres), (tmp_path / "twin", None)):
        bench.study.simulate(folder, raters=3, seed=2, database=database)
    found = list(rows(study.folder, postgres))
    assert found == list(rows(tmp_path / "twin"))
    assert {row["chance"] for row in found if row["kind"] == "real"} == {1 / 3}


def test_an_address_that_is_none_is_a_sentence_without_the_password(study: Study) -> None:
    with pytest.raises(BenchError, match="must begin with postgresql://") as raised:
        bench.study.simulate(study.folder, database="mysql://me:secret@host/db")
    assert "secret" not in str(raised.value)
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with pytest.raises(BenchError, match="the database cannot be used") as raised:
        bench.study.simulate(study.folder, database=f"postgresql://me:secret@127.0.0.1:{free_port()}/db")
    assert "secret" not in str(raised.value)


def test_read_votes_reads_the_database(study: Study) -> None:
    assert bench.study.simulate(study.folder, raters=1, seed=0).votes == 17
    assert len(read_votes(study.folder)) == 17
