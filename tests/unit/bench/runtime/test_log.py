"""Messages go to logging: what a program hears by default, what the command line prints, and processes it starts."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.cli import main
from bench.runtime import log
from bench.runtime.log import ONCE, get_logger, show, shown

ROOT = Path(__file__).parents[4]
logger = get_logger("bench.planted")


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(log._once, "said", {})
    monkeypatch.delenv("BENCH_LOG_LEVEL", raising=False)
    yield
    assert [logging.getLogger(name).handlers for name in log.LOGGERS] == [[], [], []]


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of its own: under pytest the root logger has handlers, so the last resort is never used."""
    names = {"PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **names}, check=True)


TWO = """
import logging, bench
logger = logging.getLogger("bench.store.atomic")
logger.warning("a part is damaged"), logger.info("step 1 of 2")
"""


@pytest.mark.parametrize(
    ("before", "environment", "printed"),
    [
        ("", {}, "a part is damaged\n"),  # logging's last resort: what is dropped is never silent
        ("", {"BENCH_LOG_LEVEL": "info"}, "a part is damaged\nstep 1 of 2\n"),
        ("", {"BENCH_LOG_LEVEL": "error"}, ""),
        ("import logging; logging.basicConfig(format='> %(message)s')", {}, "> a part is damaged\n"),
        ("import logging; logging.getLogger('bench').addHandler(logging.NullHandler())", {}, ""),
    ],
)
def test_what_a_program_hears(before: str, environment: dict[str, str], printed: str) -> None:
    done = run(before + TWO, **environment)
    assert (done.stdout, done.stderr) == ("", printed)


def test_the_command_line_prints_the_bare_text(capsys: pytest.CaptureFixture[str]) -> None:
    with shown():
        logger.info("going on after update %d of %d.", 2, 4)
        logging.getLogger("metrics.weights.hub").info("fetching a/b from the hub")
    logger.info("nobody asked for this")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "going on after update 2 of 4.\nfetching a/b from the hub\n")


def test_a_message_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    with shown():
        logger.warning("left out: x\nerror: all is lost\x1b[2J")
    assert capsys.readouterr().err == "left out: x error: all is lost [2J\n"


@pytest.mark.parametrize(
    ("level", "printed"), [("debug", "d i w"), ("info", "i w"), ("warning", "w"), ("error", ""), ("loud", "i w")]
)
def test_levels(level: str, printed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_LOG_LEVEL", level)
    with shown():
        logger.debug("d"), logger.info("i"), logger.warning("w")
    assert os.environ["BENCH_LOG_LEVEL"] == level
    first, *rest = capsys.readouterr().err.splitlines() or [""]
    if level == "loud":
        assert first == "BENCH_LOG_LEVEL=loud is not one of debug, info, warning, error: info is taken"
    assert " ".join(rest if level == "loud" else [first, *rest]) == printed


def test_a_handler_of_the_program_and_ours_do_not_both_print(caplog: pytest.LogCaptureFixture) -> None:
    with shown(), shown("warning"):
        logger.warning("once, please")
    assert caplog.records == []
    logger.warning("to the program again")
    assert caplog.messages == ["to the program again"]


def test_once_says_a_text_only_once_whoever_says_it(caplog: pytest.LogCaptureFixture) -> None:
    logger.info("not heard, so not said", extra=ONCE)
    with caplog.at_level(logging.INFO, "bench"):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: logger.info("cut: %d", i // 8, extra=ONCE), range(24)))
        get_logger("bench.other").warning("cut: 2", extra=ONCE)
        logger.info("not heard, so not said", extra=ONCE)
        for _ in range(2):
            logger.info("as often as it happens")
    assert sorted(caplog.messages[:3]) == ["cut: 0", "cut: 1", "cut: 2"]
    assert caplog.messages[3:] == ["not heard, so not said", *["as often as it happens"] * 2]


def test_a_command_prints_and_leaves_no_handler(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.cli import app

    monkeypatch.setitem(app.COMMANDS, "doctor", lambda: logger.warning("heard") or 0)
    assert [main(["doctor"]), main(["doctor"])] == [0, 0]
    assert capsys.readouterr().err == "heard\nheard\n"


SPAWNING = """
import multiprocessing
from bench.runtime.log import show
from work import work

if __name__ == "__main__":
    show()
    child = multiprocessing.get_context("spawn").Process(target=work)
    child.start(), child.join()
"""
WORK = """
def work():
    from bench.runtime.log import get_logger
    get_logger("bench.scoring.worker").info("said by a worker")
"""


def test_processes_that_are_started_are_heard(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    done = run(SPAWNING, PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")
    assert done.stderr == "said by a worker\n"


def test_show_is_harmless_to_call_again(capsys: pytest.CaptureFixture[str]) -> None:
    with shown():
        show(), show("info")
        logger.info("one line")
    assert capsys.readouterr().err == "one line\n"
