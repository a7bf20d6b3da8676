"""What may import what: one order of packages, no circle, and nothing heavy where the command line must answer at once.

An import counts wherever it stands: at the top, inside a function, under TYPE_CHECKING, or as the text
"module:attribute" of a registry's row.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "pandas",
    "diffusers",
    "transformers",
    "matplotlib",
    "pyarrow",
    "numpy",
    "scipy",
    "PIL",
    "torchvision",
)
LIGHT = [
    "bench",
    "bench.cli",
    "bench.cli.app",
    "bench.cli.listing",
    "bench.doctor.examine",
    "bench.errors",
    "bench.formatting",
    "bench.methods.catalogue",
    "bench.methods.schedule",
    "bench.registry.families",
    "bench.registry.metrics",
    "bench.runtime.log",
    "bench.runtime.progress",
    "bench.runtime.threads",
    "bench.store.records",
    "bench.suite.load",
    "bench.suite.plan",
    "bench.suite.resolve",
    "bench.training.options",
    "metrics",
    "metrics.catalogue",
    "prompts",
]
# Each package imports only packages of the rows below its own; `bench` itself and its __main__ are the front door.
BENCH = (
    ("cli",),
    ("pipeline",),
    ("engines",),
    ("doctor", "reporting", "gate"),
    ("study",),
    ("analysis",),
    ("training",),
    ("generation", "scoring"),
    ("sampling",),
    ("models",),
    ("store",),
    ("suite",),
    ("methods",),
    ("registry",),
    ("shapes",),
    ("runtime",),
    ("formatting", "errors"),
)
METRICS = (
    ("docs", "definitions"),
    ("metric", "catalogue"),
    ("builtin",),
    ("unsupported", "torchmetrics_adapter"),
    ("official",),
    ("image", "group", "set"),
    ("judge",),
    ("base",),
    ("networks",),
    ("weights",),
    ("images", "torchmetrics_forms"),
    ("types", "errors", "markdown"),
)
TARGET = re.compile(r"(?:bench|metrics|prompts)(?:\.\w+)+(?=:\w+$)")
# `make shapes` rebuilds the embedded weights with the trainers: a program beside the house, not a floor of it.
PROGRAMS = ("bench/shapes/build/",)


def imports_of(path: Path, root: Path = ROOT) -> Iterator[tuple[str, int]]:
    """Absolute names of all modules that a file imports, at any depth, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            # `from package import module` needs the module; whether the package re-exports it is not asked for.
            for alias in node.names:
                file = root / (node.module or "").replace(".", "/") / f"{alias.name}.py"
                yield f"{node.module}.{alias.name}" if file.exists() else node.module or "", node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if target := TARGET.match(node.value):
                yield target.group(), node.lineno
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            yield from ((a.value, node.lineno) for a in node.args if isinstance(a, ast.Constant))


def modules(package: str, root: Path = ROOT) -> list[Path]:
    return sorted((root / package).rglob("*.py"))


def package_of(name: str) -> str:
    """The package or top module of "bench.store.records": "store"; "" for bench itself."""
    return name.split(".")[1] if "." in name else ""


def upward(package: str, order: tuple[tuple[str, ...], ...], root: Path = ROOT) -> list[str]:
    """Imports of a package of `package` that its rank does not allow, as "file:line imports name"."""
    rank = {name: row for row, names in enumerate(order) for name in names}
    found = set()
    for path in modules(package, root):
        where = path.relative_to(root)
        own = where.parts[1].removesuffix(".py")
        if own in ("__init__", "__main__") or where.as_posix().startswith(PROGRAMS):
            continue
        for name, line in imports_of(path, root):
            other = package_of(name) if name.split(".")[0] == package else ""
            if other in rank and other != own and rank[other] <= rank[own]:
                found.add(f"{where}:{line} imports {package}.{other}")
    return sorted(found)


def circles(root: Path = ROOT) -> list[list[str]]:
    """Groups of modules that import one another, by Tarjan's algorithm; imports inside functions count."""
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for package in ("bench", "metrics", "prompts")
        for path in modules(package, root)
    }
    arrows = {name: {t for t, _ in imports_of(path, root) if t in files and t != name} for name, path in files.items()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(arrows[name]):
            if other not in index:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == index[name]:
            members = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(members) > 1:
                found.append(sorted(members))

    for name in files:
        if name not in index:
            visit(name)
    return found


def test_every_package_has_one_rank_and_at_most_three_share_one() -> None:
    for package, order in (("bench", BENCH), ("metrics", METRICS)):
        ranked = [name for names in order for name in names]
        there = {path.name.removesuffix(".py") for path in (ROOT / package).iterdir()} - {"__init__", "__main__"}
        there -= {name for name in there if name.startswith("_") or not name.isidentifier()}
        assert len(ranked) == len(set(ranked))
        assert there <= set(ranked), there - set(ranked)
        assert all(len(names) <= 3 for names in order)


@pytest.mark.slow
def test_no_package_imports_upward() -> None:
    assert upward("bench", BENCH) + upward("metrics", METRICS) == []


def test_no_modules_import_in_a_circle() -> None:
    assert circles() == []


def test_metrics_and_prompts_import_nothing_of_bench() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for package, forbidden in (("metrics", ("bench", "prompts")), ("prompts", ("bench", "metrics")))
        for path in modules(package)
        for name, line in imports_of(path)
        if name.split(".")[0] in forbidden
    ]
    assert found == []


PLANTS = [
    (package, own, order[row - 1][0], form)
    for package, order in (("bench", BENCH), ("metrics", METRICS))
    for row, names in enumerate(order)
    if row > 0
    for own in names
    for form in ("from {0}.{1} import x\n", "def f():\n    import {0}.{1}.y\n", 'ROW = "{0}.{1}.y:Z"\n')
]


@pytest.mark.parametrize(("package", "own", "above", "form"), PLANTS)
def test_an_upward_import_planted_in_each_package_is_found(
    tmp_path: Path, package: str, own: str, above: str, form: str
) -> None:
    folder = tmp_path / package / own
    folder.mkdir(parents=True)
    (folder / "planted.py").write_text(form.format(package, above))
    order = BENCH if package == "bench" else METRICS
    assert [line.split(" ")[-1] for line in upward(package, order, tmp_path)] == [f"{package}.{above}"]


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    for package in ("bench", "metrics", "prompts"):
        (tmp_path / package).mkdir()
    (tmp_path / "bench" / "one.py").write_text("from bench import two\n")
    (tmp_path / "bench" / "two.py").write_text("def f():\n    from bench.one import g\n")
    assert circles(tmp_path) == [["bench.one", "bench.two"]]


@pytest.mark.slow
@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_stay_light(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_modules_keep_to_their_size() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for package in ("bench", "metrics", "prompts")
        for path in modules(package)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert long == {}


def test_the_top_of_bench_has_four_files() -> None:
    top = sorted(path.name for path in (ROOT / "bench").glob("*.py"))
    assert top == ["__init__.py", "__main__.py", "errors.py", "formatting.py"]
