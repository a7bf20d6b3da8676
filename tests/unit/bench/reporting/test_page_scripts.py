"""The page's scripts agree with its data and its elements: that `make lint` checks it with tsc, and can rely on it."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from bench.reporting.page import ASSETS, SCRIPTS
from bench.reporting.payload_types import Payload
from bench.reporting.report import report

ROOT = Path(__file__).parents[4]
JS = ROOT / "tests" / "js"
fakes = runpy.run_path(str(ROOT / "tests" / "data" / "judging" / "fakes.py"))


def wrong(value: Any, hint: Any, at: str = "data") -> list[str]:
    """Where JSON is not of a Python type: more keys, fewer keys, or another type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_typeddict(hint):
        hints = get_type_hints(hint)
        if not isinstance(value, dict) or set(value) != set(hints):
            return [f"{at}: keys {sorted(value) if isinstance(value, dict) else value!r}"]
        return [found for key, inner in hints.items() for found in wrong(value[key], inner, f"{at}.{key}")]
    if origin in (Union, types.UnionType):
        return [] if any(not wrong(value, inner) for inner in arguments) else [f"{at}: {value!r} is not {hint}"]
    if origin is Literal:
        return [] if value in arguments else [f"{at}: {value!r}"]
    if origin in (list, tuple) and isinstance(value, list):
        inner_of = arguments * len(value) if origin is list else arguments
        if len(inner_of) != len(value):
            return [f"{at}: {len(value)} values"]
        return [found for i, one in enumerate(value) for found in wrong(one, inner_of[i], f"{at}[{i}]")]
    if origin is dict and isinstance(value, dict):  # JSON has only text as keys
        return [found for key, one in value.items() for found in wrong(one, arguments[1], f"{at}.{key}")]
    fits = isinstance(value, (int, float) if hint is float else hint) if isinstance(hint, type) else False
    return [] if fits and (hint is bool or not isinstance(value, bool)) else [f"{at}: {value!r} is not {hint}"]


def data_of(folder: Path) -> Any:
    text = (folder / "index.html").read_text(encoding="utf-8")
    found = re.search(r'id="data">(.*?)</script>', text, re.S)
    assert found is not None
    return json.loads(found[1])


@pytest.mark.slow
@pytest.mark.parametrize(("images", "gallery"), [(True, None), (True, 2), (False, None)])
def test_the_data_have_the_shape_that_the_scripts_were_checked_with(
    tmp_path: Path, images: bool, gallery: int | None
) -> None:
    for method in ("base", "refl", "combined[switch_step=5]", "combined[switch_step=20]"):
        means = fakes["MEANS"][method.partition("[")[0]]
        fakes["make"](tmp_path / "r", method, prompts=4, samples=2, images=images, means=means)
    report(tmp_path / "r", tmp_path / "out", n_resamples=100, gallery=gallery)
    data = data_of(tmp_path / "out")
    assert wrong(data, Payload) == []
    assert data["images"]["mode"] == ("none" if not images else "page" if gallery is None else "files")
    data["methods"][1]["trained"] = "pickscore"
    data["axes"]["x"] = True
    del data["prompts"][2]["tags"]
    assert [found.split(":")[0] for found in wrong(data, Payload)] == [
        "data.methods[1].trained",
        "data.axes.x",
        "data.prompts[2]",
    ]


def test_the_declarations_are_those_of_the_data_and_the_page() -> None:
    declared = runpy.run_path(str(JS / "declare.py"))["document"]()
    assert '"axis-x": HTMLElementTagNameMap["select"];' in declared
    assert 'interface ImagesInFiles {\n    mode: "files";' in declared
    assert "origins: (string | null)[];" in declared
    assert (
        "differences: (([number | null, number | null, number | null, number, number] | null)[] | null)[];" in declared
    )


def test_all_scripts_of_the_page_are_checked() -> None:
    assert {path.name for path in ASSETS.glob("*.js")} == set(SCRIPTS)
    assert "../../bench/reporting/assets/*.js" in json.loads((JS / "tsconfig.json").read_text())["include"]


def test_the_version_is_pinned() -> None:
    asked = json.loads((JS / "package.json").read_text())["devDependencies"]["typescript"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", asked)
    assert runpy.run_path(str(JS / "check.py"))["pinned"]() == asked


PLANTED = {
    "page.js": ("data.methods.length", "data.method.length", "Property 'method' does not exist"),
    "plots.js": ('$("front")', '$("fromt")', "not assignable to parameter"),
    "gallery.js": ("images.folders[m] + place", "images.folder[m] + place", "Property 'folder' does not exist"),
    "distributions.js": ("prompt.text.length > 90", "prompt.text.lenght > 90", "Property 'lenght' does not exist"),
}


@pytest.mark.slow
def test_faults_that_are_planted_are_found(tmp_path: Path) -> None:
    command = runpy.run_path(str(JS / "check.py"))["compiler"]()
    if isinstance(command, str):
        pytest.skip(command)
    assets, js = tmp_path / "bench" / "reporting" / "assets", tmp_path / "tests" / "js"
    shutil.copytree(ASSETS, assets)
    shutil.copytree(JS, js, ignore=shutil.ignore_patterns("node_modules"))
    for name, (right, planted, _) in PLANTED.items():
        text = (assets / name).read_text(encoding="utf-8")
        assert right in text
        (assets / name).write_text(text.replace(right, planted, 1), encoding="utf-8")
    (js / "page.d.ts").write_text(runpy.run_path(str(JS / "declare.py"))["document"](), encoding="utf-8")
    done = subprocess.run([*command, "--project", str(js)], capture_output=True, text=True, timeout=120)
    errors = [line for line in done.stdout.splitlines() if "error TS" in line]
    assert done.returncode != 0
    for name, (_, _, sentence) in PLANTED.items():
        assert [line for line in errors if f"/{name}(" in line and sentence in line], (name, errors)


def test_without_node_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    assert runpy.run_path(str(JS / "check.py"))["main"]() == 0
    assert capsys.readouterr().out == "page scripts: types not checked, since there is no node on this machine\n"


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        ("ENOTFOUND", 0, "types not checked, since the npm registry cannot be reached (ENOTFOUND)"),
        ("EINTEGRITY", 1, ""),
    ],
)
def test_a_registry_that_does_not_answer_is_a_reason_and_a_wrong_file_is_a_failure(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: str,
    exit_code: int,
    said: str,
) -> None:
    for name in ("node", "npm"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho 'npm error code {code}' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    shutil.copytree(JS, tmp_path / "js", ignore=shutil.ignore_patterns("node_modules"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert runpy.run_path(str(tmp_path / "js" / "check.py"))["main"]() == exit_code
    captured = capsys.readouterr()
    assert said in captured.out
    assert (f"npm error code {code}" in captured.err) is (exit_code == 1)
