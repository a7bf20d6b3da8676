from __future__ import annotations

import re
import tomllib
from pathlib import Path

from bench.runtime.packages import COMPUTING, REQUIRED

PYPROJECT = Path(__file__).parents[4] / "pyproject.toml"


def test_the_names_are_those_that_pyproject_installs() -> None:
    dependencies = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    names = [re.split(r"[<>=!~ \[]", requirement, maxsplit=1)[0] for requirement in dependencies]
    assert sorted(REQUIRED, key=str.lower) == sorted(names, key=str.lower)
    assert len(set(REQUIRED)) == len(REQUIRED)
    assert set(COMPUTING) < set(REQUIRED)
