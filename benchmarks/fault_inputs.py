"""Edited manifests, odd inputs, hostile names and folders that may not be written to, for `benchmarks/faults.py`."""

# mypy: disable-error-code="misc"
# Lambdas with defaults have no types of their own.

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import fault_lab as lab
from fault_world import CHECK, REPORT, RUN, TAKE, Trial, World, outcome

EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "suite ../../x": lambda m: m.update(suite="../../x"),
    "suite of another": lambda m: m.update(suite="other"),
    "samples as text": lambda m: m.update(samples="2"),
    "samples 1e9": lambda m: m.update(samples=10**9),
    "samples 0": lambda m: m.update(samples=0),
    "samples true": lambda m: m.update(samples=True),
    "samples 2.5": lambda m: m.update(samples=2.5),
    "samples no number": lambda m: m.update(samples=float("nan")),
    "unknown key": lambda m: m.update(added=1),
    "run of another": lambda m: m.update(run="base@00000000"),
    "run with an escape": lambda m: m.update(run="\x1b[2J" + m["run"]),
    "method with an escape": lambda m: m.update(method="refl\x1b[2J"),
    "method empty": lambda m: m.update(method=""),
    "seed changed": lambda m: m["identity"].update(seed=12),
    "status finished": lambda m: m.update(status="finished"),
    "schema version 99": lambda m: m.update(schema_version=99),
    "schema version 0": lambda m: m.update(schema_version=0),
    "schema version a text": lambda m: m.update(schema_version="2"),
    "prompts a path": lambda m: m.update(prompts={"file": "../../../../l.toml", "count": 3}),
    "prompts an absolute path": lambda m: m.update(prompts={"file": "/etc/passwd", "count": 3}),
    "prompts with a NUL": lambda m: m["prompts"].update(file="\0" + m["prompts"]["file"]),
    "no identity": lambda m: m.pop("identity"),
    "no samples": lambda m: m.pop("samples"),
    "method a list": lambda m: m.update(method=["refl"]),
    "suite nothing": lambda m: m.update(resolved_suite=None),
    "counts negative": lambda m: m.update(counts={"images": -3}),
    "timings infinite": lambda m: m.update(timings={"generate_seconds": float("inf")}),
    "timings a text": lambda m: m.update(timings={"generate_seconds": "1"}),
    "trained_on a number": lambda m: m.update(trained_on=5),
    "cards a list": lambda m: m.update(cards=[1]),
    "notes a text": lambda m: m.update(notes="x"),
    "batches a text": lambda m: m.update(batches="x"),
    "suite key of another version": lambda m: m["resolved_suite"].update(flavour="new"),
}


def edited(world: World, name: str, protected: bool) -> Trial:
    """An edited manifest, with a digest that fits or without one: refused in a sentence, nothing outside of --out."""
    from bench.store.digests import write_protected

    folder = world.fresh()
    path = world.run_of("refl") / "manifest.json"
    data = json.loads(path.read_text())
    EDITS[name](data)
    if protected:
        write_protected(path, json.dumps(data))
    else:
        path.write_text(json.dumps(data))
    before = {one for one in world.folder.rglob("*") if "work/p" not in str(one)}
    done = [lab.call(folder, *command) for command in (REPORT, CHECK, ("score", f"r/runs/faults/{path.parent.name}"))]
    outside = {one for one in world.folder.rglob("*") if "work/p" not in str(one)} - before
    strange = [str(one) for one in outside if "/r/" not in str(one) and ".said" not in one.name]
    bad = [f"{one.code} {one.err[-150:]}" for one in done if not one.clean or steers(one)]
    refused = any(one.code == 2 for one in done)
    return outcome(1, not refused, bool(bad or strange), "; ".join([*bad, *strange]))


# --- inputs that must be refused before any work

LONG = "9" * 5_000
PROMPTS = {
    "nested prompts": '{"id": "a", "text": "t", "tags": ' + "[" * 200_000,
    "half a character": '{"id": "a", "text": "x \\ud800 y"}\n',
    "a NUL in a prompt's id": '{"id": "a\\u0000b", "text": "t"}\n',
    "a NUL in a prompt": '{"id": "a", "text": "t\\u0000"}\n',
    "a path as a prompt's id": '{"id": "../../x", "text": "t"}\n',
    "a folder as a prompt's id": '{"id": "a/b", "text": "t"}\n',
    "dots as a prompt's id": '{"id": "..", "text": "t"}\n',
    "no prompt's id": '{"id": "", "text": "t"}\n',
    "a long prompt's id": json.dumps({"id": "n" * 300, "text": "t"}) + "\n",
    "an escape in a prompt's id": '{"id": "a\\u001b[2J", "text": "t"}\n',
    "two prompts of one id": '{"id": "a", "text": "t"}\n{"id": "a", "text": "u"}\n',
    "a number of many digits": f'{{"id": "a", "text": "t", "n": {LONG}}}\n',
    "an empty file of prompts": "",
    "bytes as prompts": "\udcff\udcfe\udc80",
}
SUITES = {
    "a path as a suite's name": ('name = "faults"', 'name = "../../x"'),
    "a NUL in a suite's name": ('name = "faults"', 'name = "a\\u0000b"'),
    "an escape in a suite's name": ('name = "faults"', 'name = "a\\u001b[2J"'),
    "a path as a method's name": ("[methods.refl]", '[methods."../refl"]'),
    "a path as a metric's name": ("[metrics.lpips]", '[metrics."../lpips"]'),
    "no steps": ("steps = 3", "steps = 0"),
    "a billion steps": ("steps = 3", "steps = 1000000000"),
    "samples that are no number": ("samples = 2", "samples = nan"),
    "a negative seed": ("seed = 11", "seed = -1"),
}


def _a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


IN_PLACE: dict[str, Callable[[Path], Any]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a link to itself": _a_link_to_itself,
    "a link to nothing": lambda path: path.symlink_to("nothing"),
}
NAMES = {"a suite": "s.toml", "thresholds": "l.toml", "prompts": "q.jsonl", "the results": "r2", "a checkpoint": "w"}
MORE = {"prompts": ("--prompts", "q.jsonl"), "the results": ("--results", "r2"), "a checkpoint": ("--set", "weights=w")}
PLACES = ("an image", *NAMES)
OTHERS = ("a billion samples", "a name that is a path", "a name with an escape")
ODD = (*PROMPTS, *SUITES, *(f"{what} as {place}" for what in IN_PLACE for place in PLACES), *OTHERS)


def _in_place(folder: Path, what: str, place: str) -> tuple[Any, ...]:
    """Put something in the place of a file that a command reads; returns the command."""
    path = next((folder / "mine").glob("*/0.png")) if place == "an image" else folder / NAMES[place]
    path.unlink(missing_ok=True)
    IN_PLACE[what](path)
    if place == "an image":
        return TAKE
    return CHECK if place == "thresholds" else (*RUN, *MORE.get(place, ()))


def _command(folder: Path, name: str) -> tuple[Any, ...]:
    """Make an odd input; returns the command that reads it."""
    if name in PROMPTS:
        (folder / "q.jsonl").write_bytes(PROMPTS[name].encode("utf-8", "surrogateescape"))
        return (*RUN, "--prompts", "q.jsonl")
    if name in SUITES:
        (folder / "s.toml").write_text(lab.SUITE.replace(*SUITES[name]))
        return RUN
    if name == "a billion samples":
        return (*RUN, "--samples", "1000000000")
    if name in OTHERS:
        return (*TAKE[:-3], "../x" if "path" in name else "a\x1b[2J", *TAKE[-2:])
    what, _, place = name.partition(" as ")
    return _in_place(folder, what, place)


def odd_input(world: World, name: str) -> Trial:
    """Inputs that must be refused in a sentence, before any work and without waiting; nothing that is there changes."""
    folder = world.fresh()
    command = _command(folder, name)
    done = lab.call(folder, *command)
    if name == "a folder as the results":  # an empty folder is no fault
        return outcome(1, False, done.code != 0, f"{done.code} {done.err[-200:]}" if done.code else "")
    wrong = not done.clean or done.code not in (2, 4) or steers(done) or "error: " not in done.err
    wrong = wrong or bool(world.same())
    return outcome(1, done.code == 0, wrong, f"{done.code} {done.err[-200:]} {world.same()}" if wrong else "")


# --- names and texts

EVIL = (
    "</script></style></title><img src=x onerror=alert(1)>\"'><svg onload=alert(2)>{{7*7}}<!--`javascript:alert(3)` "
    "$\\input{/etc/passwd}$ \\write18{id} \u2028\u202e\x1b[2J ]]> &lt; @user #1 |"
)
FOLDERS = {
    "blanks and quotes": "with space/and 'quote\"",
    "other letters": "ünï/日本/😀",
    "200 letters": "n" * 200,
    "too long": "n" * 300,
    "a path of 4,400 letters": "/".join(["d" * 200] * 22),
    "a new line": "new\nline",
    "an escape": "a\x1b[2Jb",
    "a dash": "-dash",
    "signs": "a#b?c=%41&<x>",
    "bytes that are no text": "a\udcffb",
}


def steers(done: lab.Done) -> bool:
    """Whether what was printed could steer a terminal."""
    return any(ord(char) < 32 and char not in "\n\r\t" for char in done.out + done.err)


class _Events(HTMLParser):
    """Counts what would run by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key.startswith("on") or (value or "").strip().lower().startswith("javascript:"):
                self.found.append(f"<{tag} {key}>")


def hostile_folder(world: World, name: str) -> Trial:
    """A results folder of an odd name works like any other, or is refused before any work."""
    folder = world.fresh(finished=False)
    path = FOLDERS[name]
    done = lab.call(folder, *RUN[:-2], f"--results={path}")
    if done.code == 0:
        (folder / path).rename(folder / "r")
    why = world.same() if done.code == 0 else "" if done.code == 2 else "neither"
    bad = not done.clean or steers(done) or bool(why)
    return outcome(1, done.code == 0 and bool(why), bad, f"{done.code} {done.err[-200:]} {why}" if bad else "")


def hostile_text(world: World) -> Trial:
    """Prompts, tags and titles that are code elsewhere: shown as text by every command, in every file."""
    folder = world.fresh(finished=False)
    lines = [{"id": f"p{n}", "text": f"{sign}{EVIL} {n}", "tags": [EVIL]} for n, sign in enumerate("=+-@")]
    (folder / "q.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    suite = lab.SUITE.replace('title = "Faults"', f"title = {json.dumps(EVIL)}")
    (folder / "s.toml").write_text(suite.replace('shapes"\nlimit = 3', 'q.jsonl"'))
    commands = (RUN, REPORT, UPDATE_ALL, CHECK, ("compare", "base", "refl", "--results", "r"), ("list", "runs"))
    done = [lab.call(folder, *command) for command in commands]
    bad = [f"{one.code} {one.err[-100:]}" for one in done if not one.clean or steers(one) or one.code not in (0, 3)]
    page = _Events()
    page.feed((folder / "p/index.html").read_text() if (folder / "p/index.html").is_file() else "<img onerror=none>")
    bad += page.found
    for path in (folder / "p").glob("*.csv"):
        cells = (cell for row in csv.reader(path.open()) for cell in row)
        bad += [f"{path.name}: {cell[:20]}" for cell in cells if cell[:1] in "=+@\t\r" and cell][:1]
    for name, words in {"table.tex": ("\x1b", "\\input{", "\\write18"), "table.md": ("\x1b", "<img", "<svg")}.items():
        text = (folder / "p" / name).read_text() if (folder / "p" / name).is_file() else words[0]
        bad += [f"{name}: {word}" for word in words if word in text]
    return outcome(1, False, bool(bad), "; ".join(bad))


UPDATE_ALL = ("check", "r", "--baseline", "b.json", "--update-baseline", "--accept")


# --- folders that may not be written to


def read_only(world: World, command: tuple[Any, ...]) -> Trial | None:
    """Folders and files that may be read and not be written to: done, or refused in a sentence; nothing changes."""
    if os.geteuid() != 0:
        return None
    folder = world.fresh()
    shutil.rmtree(folder / "p", ignore_errors=True)
    for name in (".said-0.out", ".said-0.err"):
        (folder / name).touch()
    for path in (folder, *folder.rglob("*")):
        if not path.name.startswith(".said-"):
            path.chmod(path.stat().st_mode & ~0o222)
    done = lab.call(folder, *command, hook=lab.without_privileges)
    why = world.same()
    wrong = not done.clean or done.code not in (0, 2) or (done.code == 2 and "error: " not in done.err)
    return outcome(1, False, bool(wrong or why), f"{done.code} {done.err[-250:]} {why}" if wrong or why else "")
