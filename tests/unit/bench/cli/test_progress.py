from __future__ import annotations

import io

import pytest

from bench.cli.progress import Bar, Lines, Pace, duration, rate_text, watching


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


def test_the_time_left_does_not_count_what_went_before_the_first_batch() -> None:
    """A minute of loading and compiling, then 4 images every 12 s: said is what is left, within a batch."""
    stream, clock = io.StringIO(), Clock()
    progress = Lines(stream, clock)
    progress.start("generate", 40)
    clock.now += 60
    for batch in range(10):
        clock.now += 12
        progress.advance(4)
        assert progress._pace.left == (None if batch == 0 else pytest.approx((9 - batch) * 12))
    progress.finish()
    lines = stream.getvalue().splitlines()
    assert lines[1:4] == [
        "generate: 4/40",
        "generate: 8/40, 20.0/min, 1 min 36 s left",
        "generate: 12/40, 20.0/min, 1 min 24 s left",
    ]
    assert lines[-1] == "generate: 40/40 in 3 min 0 s"


def test_a_burst_tells_no_rate() -> None:
    """Methods that share a batch end their parts of it one after the other."""
    stream, clock = io.StringIO(), Clock()
    progress = Lines(stream, clock)
    progress.start("score", 1000)
    clock.now += 30
    for _ in range(3):
        clock.now += 0.1
        progress.advance(4)
    assert stream.getvalue().splitlines() == ["score: 0/1000", "score: 4/1000"]
    assert progress._pace.left is None


def test_the_time_left_goes_down_while_a_batch_is_made() -> None:
    clock = Clock()
    pace = Pace(40, clock)
    found = []
    for moment, n in ((60, 4), (72, 4), (78, 0), (400, 0)):
        clock.now = moment
        if n:
            pace.advance(n)
        found.append(pace.left)
    assert found == [None, pytest.approx(96), pytest.approx(90), 0.0]
    assert pace.rate == pytest.approx(4 / 12)


@pytest.mark.parametrize(("rate", "text"), [(4.0, "4.0/s"), (0.2, "12.0/min"), (0.001, "3.6/h")])
def test_rates_of_slow_work_are_no_zeros(rate: float, text: str) -> None:
    assert rate_text(rate) == text


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
