from __future__ import annotations

import io

import pytest

from bench.cli.progress import Bar, Lines, duration, watching


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_are_few_and_tell_rate_and_time_left() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Lines(stream, clock)
    progress.start("generate", 100)
    for _ in range(100):
        clock.now += 0.25
        progress.advance()
    progress.finish()
    assert stream.getvalue().splitlines() == [
        "generate: 0/100",
        "generate: 40/100, 4.0/s, 15 s left",
        "generate: 80/100, 4.0/s, 5.0 s left",
        "generate: 100/100 in 25 s",
    ]


def test_a_stage_with_nothing_to_do_is_silent() -> None:
    stream = io.StringIO()
    progress = Lines(stream)
    progress.start("score", 0)
    progress.finish()
    assert stream.getvalue() == ""


def test_not_a_terminal_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with watching() as progress:
        assert isinstance(progress, Lines)
        progress.start("generate", 2)
        progress.advance(2)
        progress.finish()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("generate: 0/2\ngenerate: 2/2")


def test_the_bar_counts_and_ends_even_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Bar()
    progress.advance()  # before a stage: nothing to draw on
    progress.start("generate", 3)
    progress.advance(2)
    progress.start("score", 1)  # a new stage ends the old one
    progress.close()
    progress.close()
    assert progress.finish() is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (42.4, "42 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
