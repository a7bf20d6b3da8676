from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
import typer

from bench.cli import app, main
from bench.errors import MissingError, NotComparableError, UsageError


def raising(wrong: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise wrong

    return command


class ForeignError(ValueError):
    """As `metrics` and `prompts` raise: not of bench, but with an exit code."""

    exit_code = 4


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (UsageError("a sentence."), 2),
        (NotComparableError("a sentence."), 3),
        (MissingError("a sentence."), 4),
        (ForeignError("a sentence."), 4),
    ],
)
def test_a_users_mistake_is_one_line_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: Exception, code: int
) -> None:
    monkeypatch.setitem(app.COMMANDS, "doctor", raising(wrong))
    assert main(["doctor"]) == code
    assert capsys.readouterr().err == "error: a sentence\n"


def test_a_message_of_several_lines_becomes_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(app.COMMANDS, "doctor", raising(UsageError("one\n   two")))
    main(["doctor"])
    assert capsys.readouterr().err == "error: one two\n"


@pytest.mark.parametrize("wrong", [KeyboardInterrupt(), typer.Abort()])
def test_interrupted_is_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: BaseException
) -> None:
    monkeypatch.setitem(app.COMMANDS, "doctor", raising(wrong))
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err.startswith("error: interrupted")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_refusing_disk_is_not_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    monkeypatch.setitem(app.COMMANDS, "doctor", raising(OSError(number, "no", "/some/file")))
    assert main(["doctor"]) == 2
    assert "/some/file" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [ValueError("a bug"), OSError(errno.EBADF, "a bug"), KeyError("a bug")])
def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, wrong: Exception) -> None:
    monkeypatch.setitem(app.COMMANDS, "doctor", raising(wrong))
    with pytest.raises(type(wrong), match="a bug"):
        main(["doctor"])


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_code_of_a_command_is_the_code_of_the_process(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setitem(app.COMMANDS, "doctor", lambda: code)
    assert main(["doctor"]) == code


def test_usage_errors_are_2_and_say_where_help_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--bogus"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("error: ")
    assert "See 'bench run --help'." in said
