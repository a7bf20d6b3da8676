"""`--plugin FILE`: the examples of docs/plugins.md run as written; mistakes in such a file are told with their line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"


def blocks_of(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"```python\n# (\w+)\.py\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_page_shows_what_runs_here() -> None:
    shown = [block for block in blocks_of(PAGE.parents[1] / "README.md") if block[0].startswith("my_")]
    assert set(shown) <= set(blocks_of(PAGE))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    blocks = blocks_of(PAGE)
    assert {name for name, _ in blocks} == {"my_methods", "my_metrics", "my_models", "my_models_code"}
    for name, code in blocks:
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    return tmp_path


def test_they_are_listed(bench_command, files: Path) -> None:
    given = ["--plugin", "my_methods.py", "--plugin", files / "my_metrics.py", "--plugin", "my_models.py"]
    assert "late  " in bench_command("list", "methods", *given).stdout
    assert "brightness" in bench_command("list", "metrics", *given).stdout
    assert "halved" in bench_command("list", "models", *given).stdout
    assert "late  " in bench_command("list", "methods", BENCH_PLUGINS=str(files / "my_methods.py")).stdout
    assert "late  " not in bench_command("list", "methods").stdout


def test_they_run(bench_command, files: Path, tiny_suite, tidy) -> None:
    text = tiny_suite.toml.read_text().replace('family = "sd"', 'family = "halved"')
    suite = files / "halved.toml"
    suite.write_text(text)
    plugins = [part for name in ("my_methods", "my_metrics", "my_models") for part in ("--plugin", f"{name}.py")]
    settings = ["--set", f"late.weights={tiny_suite.tuned}", "--set", "switch_step=5", "--metrics", "brightness"]
    results = files / "results"
    common = ["--method", "base,late", *settings, *plugins, "--limit", "1", "--results", results]
    said = bench_command("run", "--suite", suite, *common).stdout
    assert "Brightness" in said
    rows = tidy(results)
    assert len(rows) == 4
    assert rows["value"].between(0, 0.5).all()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1\ndef f(:\n", "mine.py, line 2: invalid syntax"),
        ("\nimport no_such_package\n", "mine.py, line 2: ModuleNotFoundError: No module named 'no_such_package'"),
        ("import sys\nsys.exit('stop')\n", "mine.py, line 2: SystemExit: stop"),
        (
            'from bench import *\n\nSchedule("step", switch_step="5")\n',
            "mine.py, line 3: switch_step of a schedule of kind 'step' must be an integer, got '5'",
        ),
        ("def f():\n    return 1 / 0\n\nf()\n", "mine.py, line 2: ZeroDivisionError: division by zero"),
        (
            'from bench import *\n\nregister_method(Method("base", "Mine", Schedule("linear")))\n',
            "mine.py, line 3: method 'base' is already defined by bench: use another name",
        ),
        (
            'from bench import *\nregister_method(Method("a/b", "Mine", Schedule("linear")))\n',
            "mine.py, line 2: method name 'a/b' must be usable as a folder name",
        ),
        ('from bench import Schedule\nSchedule("stpe")\n', "mine.py, line 2: schedule kind 'stpe' is not one of"),
        (
            'from bench import register_model\nregister_model("sd", "mine:Mine")\n',
            "mine.py, line 2: model family 'sd' is already defined by bench:",
        ),
        ('from bench import register_model\nregister_model("x", "mine")\n', "must be written as 'module:Class'"),
        (
            'import metrics\nmetrics.register("fid", "mine:Fid", metrics.info("fid"))\n',
            "mine.py, line 2: metric name 'fid' is already used by",
        ),
    ],
)
def test_mistakes_in_the_file(error_of, tmp_path: Path, code: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(code)
    assert said in error_of(2, "list", "methods", "--plugin", "mine.py")


def test_mistakes_in_the_option(error_of, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("")
    (tmp_path / "my-methods.py").write_text("")
    (tmp_path / "mine.txt").write_text("")
    assert "nothing.py does not exist" in error_of(2, "list", "--plugin", "nothing.py")
    assert "is a folder: give the Python file" in error_of(2, "list", "--plugin", ".")
    assert "is not a Python file" in error_of(2, "list", "--plugin", "mine.txt")
    assert "must be usable as a module name" in error_of(2, "list", "--plugin", "my-methods.py")
    assert "the module name 'json' is taken by" in error_of(2, "list", "--plugin", "json.py")
