"""The code blocks of the pages. Load with `runpy.run_path`, or import from a test beside it.

A comment before a block says what a reader does not see: `<!-- not run: REASON -->` where it needs a network or a GPU,
`<!-- file: NAME -->` where the block is a file of that name. A Python block that begins with `# NAME.py` is one, too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from bench.cli.app import build

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(
    r"(?:^<!-- (?P<told>not run|file): (?P<value>.+?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S
)
_FILE = re.compile(r"# (\w+\.py)\n")
_INLINE = re.compile(r"`((?:bench|python) [^`]+)`")
COMMANDS = typer.main.get_command(build()).commands  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Block:
    """One fenced block: `reason` why it is not run, `file` the name of the file that it is ("" for none)."""

    language: str
    code: str
    reason: str = ""
    file: str = ""

    @property
    def lines(self) -> list[str]:
        """The commands of a bash block, without their comments."""
        lines = (shlex.join(shlex.split(line, comments=True)) for line in self.code.splitlines())
        return [line for line in lines if line]


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = []
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        named = _FILE.match(match["code"])
        file = match["value"] if match["told"] == "file" else named[1] if named else ""
        found.append(
            Block(match["language"], match["code"], match["value"] if match["told"] == "not run" else "", file)
        )
    return found


def commands(page: Path) -> Iterator[list[str]]:
    """Words of every `bench` and `python` command of a page, in blocks and in the text."""
    inline = _INLINE.findall(page.read_text(encoding="utf-8"))
    for line in [*inline, *(line for block in blocks(page) if block.language == "bash" for line in block.lines)]:
        yield shlex.split(line.replace("\n", " "), comments=True)


def what_is_wrong(words: list[str]) -> str:
    """Why a command of a page cannot be given as it stands there; "" if it can."""
    if words[0] == "python":
        name = words[2] if words[1] == "-m" else words[1]
        path = name.replace(".", "/") + ".py" if words[1] == "-m" else name
        there = (
            (ROOT / path).exists()
            or (ROOT / name.replace(".", "/") / "__main__.py").exists()
            or name in ("pip", "pytest")
        )
        return "" if there or words[1] == "-c" else f"there is no {path}"
    command = COMMANDS.get(words[1]) if len(words) > 1 else None
    rest = 2
    if (below := getattr(command, "commands", None)) and len(words) > 2:
        command, rest = below.get(words[2]), 3
        if command is None:
            return f"there is no command {words[1]} {words[2]}"
    if command is None:
        return "" if words[1:2] in ([], ["--help"], ["--version"]) else f"there is no command {words[1]}"
    known = {"--help", *(name for option in command.params for name in option.opts)}
    wrong = [word for word in words[rest:] if word.startswith("--") and word.partition("=")[0] not in known]
    return f"bench {' '.join(words[1:rest])} has no option {', '.join(wrong)}" if wrong else ""
