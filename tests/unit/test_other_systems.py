"""Nothing that only Linux has is used without a way on for macOS: what is not there is caught where it is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Attributes of `os` that macOS (or Windows) lacks, modules of POSIX alone, and folders of Linux's kernel.
OF_LINUX = {
    "sched_getaffinity", "sched_setaffinity", "memfd_create", "posix_fadvise", "posix_fallocate", "pidfd_open",
    "copy_file_range", "sendfile", "getrandom", "setns", "unshare", "eventfd", "splice", "O_TMPFILE", "O_DIRECT",
    "O_PATH", "renameat2", "getxattr", "setxattr",
}  # fmt: skip
OF_POSIX = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "spwd"}
FOLDERS = ("/proc/", "/sys/", "/dev/shm")
GUARDS = {"AttributeError", "ImportError", "ModuleNotFoundError", "OSError", "Exception", "FileNotFoundError"}
# A path that is only named: reading it is guarded where it is read, which the tests of the module hold.
NAMED = {("bench/runtime/threads.py", "/sys/fs/cgroup/cpu.max")}


def names(node: ast.expr | None) -> set[str]:
    """The names of exceptions in `except X` or `suppress(X, Y)`."""
    if node is None:
        return {"Exception"}
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def words(node: ast.expr) -> set[str]:
    """The names and attributes in an expression."""
    inside = list(ast.walk(node))
    return {one.id for one in inside if isinstance(one, ast.Name)} | {
        one.attr for one in inside if isinstance(one, ast.Attribute)
    }


def guarded(node: ast.AST) -> bool:
    """Whether a statement catches what a missing call, module or file raises."""
    if isinstance(node, ast.Try):
        return any(names(handler.type) & GUARDS for handler in node.handlers)
    if isinstance(node, ast.With):
        return any("suppress" in words(item.context_expr) and words(item.context_expr) & GUARDS for item in node.items)
    if isinstance(node, ast.If):
        return bool({"platform", "hasattr"} & words(node.test))
    return False


def what_is_special(node: ast.AST) -> str:
    """What of a node is there on some systems only; "" for nothing."""
    if isinstance(node, ast.Attribute) and node.attr in OF_LINUX and ast.unparse(node.value) == "os":
        return f"os.{node.attr}"
    if isinstance(node, ast.Import):
        return next((one.name for one in node.names if one.name in OF_POSIX), "")
    if isinstance(node, ast.ImportFrom):
        return node.module if node.module in OF_POSIX else ""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(FOLDERS):
        return node.value
    return ""


def unguarded(tree: ast.AST, inside: bool = False) -> Iterator[tuple[int, str]]:
    """(line, what) of every use that nothing catches."""
    for node in ast.iter_child_nodes(tree):
        found = what_is_special(node)
        if found and not inside:
            yield getattr(node, "lineno", 0), found
        if isinstance(node, ast.Try) and guarded(node):
            for part in node.body:
                yield from unguarded(ast.Module([part], []), True)
            for part in (*node.handlers, *node.orelse, *node.finalbody):
                yield from unguarded(ast.Module([part], []), inside)  # type: ignore[list-item]
            continue
        yield from unguarded(node, inside or guarded(node))


def modules() -> list[Path]:
    return sorted(path for package in ("bench", "metrics", "prompts") for path in (ROOT / package).rglob("*.py"))


@pytest.mark.slow
def test_what_only_some_systems_have_is_caught_where_it_is_used() -> None:
    found = []
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [f"{name}:{line}: {what}" for line, what in unguarded(tree) if (name, what) not in NAMED]
    assert found == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import os\nos.sched_getaffinity(0)\n", ["os.sched_getaffinity"]),
        ("import fcntl\n", ["fcntl"]),
        ("from fcntl import flock\n", ["fcntl"]),
        ("open('/proc/self/stat')\n", ["/proc/self/stat"]),
        ("try:\n    open('/proc/x')\nexcept OSError:\n    pass\n", []),
        ("try:\n    x = 1\nexcept OSError:\n    open('/proc/x')\n", ["/proc/x"]),
        ("try:\n    import resource\nexcept ImportError:\n    pass\n", []),
        ("try:\n    open('/proc/x')\nexcept ValueError:\n    pass\n", ["/proc/x"]),
        ("with contextlib.suppress(OSError):\n    open('/proc/x')\n", []),
        ("if hasattr(os, 'getrandom'):\n    os.getrandom(1)\n", []),
    ],
)
def test_a_use_without_a_guard_is_found(code: str, found: list[str]) -> None:
    assert [what for _, what in unguarded(ast.parse(code))] == found
