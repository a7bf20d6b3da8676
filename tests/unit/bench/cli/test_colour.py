"""Colour: on a terminal that has it, never in a pipe or a file, and the words stay."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.cli.colour import coloured, colours


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "wanted"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),  # an empty one is none
        (Terminal(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (Terminal(), {"FORCE_COLOR": "0"}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1", "TERM": "dumb"}, True),
    ],
)
def test_when(stream: io.StringIO, environment: dict[str, str], wanted: bool) -> None:
    assert colours(stream, environment) is wanted


VERDICTS = """verdict         method  metric
passed          base    lpips  0.5 against min 0.3
failed          refl    lpips  passed  nothing
undecided       aig     lpips  0.3
missing         dpo     lpips
not comparable  spo     lpips
gate failed: 1 passed, 1 failed
"""


def test_verdicts_are_coloured_where_they_are_said_and_nowhere_else() -> None:
    found = coloured(VERDICTS)
    assert re.sub(r"\x1b\[\d+m", "", found) == VERDICTS
    marked = re.findall(r"\x1b\[(\d+)m([^\x1b]+)\x1b\[0m", found)
    words = ["passed", "failed", "undecided", "missing", "not comparable", "failed"]
    assert [word for _, word in marked] == words
    assert [colour for colour, _ in marked] == ["32", "31", "33", "33", "33", "31"]


def test_claims_and_marks() -> None:
    found = coloured("holds          a\ndoes not hold  b  -0.1 ▼\n▲ refl better, △ maybe\nholdsfast  c\n")
    assert re.findall(r"\x1b\[(\d+)m([^\x1b]+)\x1b", found) == [
        ("32", "holds"), ("31", "does not hold"), ("31", "▼"), ("32", "▲"), ("32", "△"),
    ]  # fmt: skip


def gate(shapes_results: Path, folder: Path) -> list[str]:
    path = folder / "gate.toml"
    path.write_text("[base.lpips]\nmin = 0.0\n[refl.lpips]\nmin = 99\n")
    return ["check", "--results", str(shapes_results), "--thresholds", str(path)]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    import runpy

    fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
    for method in ("base", "refl"):
        fakes["make"](tmp_path, method, prompts=8, metrics=("lpips",))
    return tmp_path


def test_a_pipe_has_none_and_may_be_asked_for_it(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(gate(results, results)) == 1
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(gate(results, results)) == 1
    assert "\x1b[31mfailed\x1b[0m" in capsys.readouterr().out
    assert main([*gate(results, results), "--json"]) == 1
    json.loads(capsys.readouterr().out)
    assert main(["compare", "base", "refl", "--results", str(results), "--markdown"]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_has_it(results: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, "-m", "bench", *gate(results, results)]
    leader, follower = pty.openpty()
    process = subprocess.Popen(command, stdout=follower, stderr=follower, env=environment | {"TERM": "xterm"})
    os.close(follower)
    said = b""
    with os.fdopen(leader, "rb", buffering=0) as stream:
        while True:
            try:
                part = stream.read(4096)
            except OSError:  # the other side was closed
                break
            if not part:
                break
            said += part
    assert process.wait() == 1
    assert b"\x1b[32mpassed\x1b[0m" in said
    assert b"\x1b[31mfailed\x1b[0m" in said


def test_doctor_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = main(["doctor", "--json", "--results", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)
    assert found["code"] == code
    assert {"python", "torch", "device", "threads"} <= {one["what"] for one in found["findings"]}
    assert {one["mark"] for one in found["findings"]} <= {"ok", "missing", "absent", "suspect"}
    code = main(["doctor", "--suite", "images", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["code"] == code == 4
    assert {"what", "name", "megabytes"} <= found["missing"][0].keys()
    assert main(["doctor", "--json", "--verify-metrics"]) == 2
