from __future__ import annotations

import pytest

from bench.runtime import log


def test_notes_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    log.note("made again: 1 image")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "made again: 1 image\n")


def test_the_sink_can_be_replaced_and_restored(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    before = log.set_sink(heard.append)
    try:
        log.note("one")
    finally:
        log.set_sink(before)
    log.note("two")
    assert heard == ["one"]
    assert capsys.readouterr().err == "two\n"


def test_once_says_a_text_only_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        log.note("only once, in this test", once=True)
    assert capsys.readouterr().err == "only once, in this test\n"
