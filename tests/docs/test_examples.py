"""The notebook runs from its first cell to its figure, and the container's file names what is there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "examples" / "quickstart.ipynb"
DOCKERFILE = ROOT / "Dockerfile"


def cells() -> list[dict[str, Any]]:
    return list(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"])


def test_the_notebook_is_of_version_4_5_and_was_saved_without_output() -> None:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert {"kernelspec", "language_info"} <= content["metadata"].keys()
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    for cell in content["cells"]:
        assert isinstance(cell["source"], list)
        assert cell["cell_type"] == "markdown" or (cell["outputs"] == [] and cell["execution_count"] is None)
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: the keys above were checked")
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))


@pytest.mark.slow
def test_the_notebook_runs_to_its_figure(tmp_path: Path) -> None:
    """Its cells in order in one process, as a kernel does; what a cell ends with is evaluated."""
    code = ["import matplotlib", "matplotlib.use('Agg')"]
    code += ["".join(cell["source"]) for cell in cells() if cell["cell_type"] == "code"]
    code += ["assert len(rows) > 0 and set(rows['method']) == set(METHODS)"]
    code += ["assert len(comparison.table) == rows['metric'].nunique()", "figure.savefig('figure.png')"]
    (tmp_path / "cells.py").write_text("\n".join(code), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "cells.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "report" / "index.html").exists()
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) of the container's file, lines that go on joined."""
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2]) for line in lines]


def test_the_container_copies_what_is_there_and_the_context_has_it() -> None:
    known = {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} <= known
    assert instructions()[0][0] == "FROM"
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    sources = {source for name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]}
    assert "*" in ignored
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)


def test_the_containers_steps_are_those_that_install_the_package() -> None:
    """The wheel in an environment of its own is tested without a container (tests/e2e/test_wheel.py)."""
    runs = [shlex.split(rest) for name, rest in instructions() if name == "RUN"]
    install = next(words for words in runs if words[:4] == ["python", "-m", "pip", "install"])
    assert install[4:] == ["--extra-index-url", "$TORCH_INDEX", "-c", "constraints.txt", "."]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    wanted = {line.split("==")[0].lower() for line in pins if "==" in line}
    assert {"torch", "torchvision"} <= wanted
    entry = next(rest for name, rest in instructions() if name == "ENTRYPOINT")
    assert json.loads(entry) == ["bench"]
    needed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name in re.findall(r'(?:readme|license-files) = \[?"(.+?)"', needed):
        assert any(name in rest.split() for instruction, rest in instructions() if instruction == "COPY")
    usage = re.search(r"docker run .*? imagerefl-bench (.+)", DOCKERFILE.read_text(encoding="utf-8"))
    assert usage
    assert usage[1].split()[0] == "run"
