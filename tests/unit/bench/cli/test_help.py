"""The help of every command, as a terminal of 80 columns shows it."""

from __future__ import annotations

import re

import pytest
import typer

from bench.cli import main
from bench.cli.app import COMMANDS, GROUPS, build

EVERY = [*COMMANDS, *GROUPS, *(f"{group} {word}" for group, (_, commands) in GROUPS.items() for word in commands)]


def help_of(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*command.split(), "--help"] if command else ["--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("command", EVERY)
def test_every_option_and_argument_says_what_it_takes(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a metavar typer shows a Python type (`<int range>`), and it adds brackets to one that has them."""
    text = help_of(command, monkeypatch, capsys)
    for leak in ("<", ">", "{", "}", "[["):
        assert leak not in text.replace("x>=", ""), leak
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.parametrize("command", [name for name in EVERY if name not in GROUPS])
def test_every_help_text_ends_with_a_full_stop(command: str) -> None:
    """Click ends its own with one ("Show this message and exit."); a default that typer does not know stands behind."""
    found = typer.main.get_command(build())
    for word in command.split():
        found = found.commands[word]  # type: ignore[attr-defined]
    parameters = found.params
    assert len(parameters) >= 2
    for parameter in parameters:
        assert re.search(r"[^.]\.( \[default: .+\])?$", parameter.help), parameter.help


def test_the_list_of_commands_is_not_cut(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for group, names in {
        "": [*COMMANDS, *GROUPS],
        **{name: [*commands] for name, (_, commands) in GROUPS.items()},
    }.items():
        listing = help_of(group, monkeypatch, capsys).partition("Commands:\n")[2]
        lines = listing.splitlines()
        assert [line.split()[0] for line in lines] == names
        assert all(line.endswith(".") and not line.endswith("...") for line in lines)
