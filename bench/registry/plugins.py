"""Methods, models and metrics of a user's own: files given with `--plugin`, and entry points of installed packages.

A plug-in is a Python file that registers things when it is read:

    from bench import Method, Schedule, register_method

    register_method(Method("late", "Tuned model in the last five steps", Schedule("step", switch_step=35)))

It is imported under the name of the file, so what it registers by "my_methods:Class" is found, and files beside it can
be imported. Files named in the environment variable BENCH_PLUGINS (separated as PATH is) are read as well; those given
in a call are added there, for the processes that it starts.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from bench.errors import UsageError

VARIABLE = "BENCH_PLUGINS"
_read: dict[Path, ModuleType] = {}
_current: list[str] = []


def load_plugins(files: Iterable[Path | str] = ()) -> None:
    """Read these files and those of BENCH_PLUGINS; each once.

    Raises UsageError with file and line: no such file, a mistake in it, or a name that is taken.
    """
    named = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    paths = list(dict.fromkeys(Path(file).expanduser().resolve() for file in (*named, *files)))
    for path in paths:
        if path not in _read:
            _load(path)
    if paths:
        os.environ[VARIABLE] = os.pathsep.join(map(str, paths))


def loaded_files() -> list[str]:
    """All plug-in files that were read, for processes elsewhere to read them first."""
    return [str(path) for path in _read]


def current() -> str | None:
    """The plug-in file that is being read now, None otherwise."""
    return _current[-1] if _current else None


def _load(path: Path) -> None:
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:  # not reachable for a .py file
        raise UsageError(f"plugin {path} cannot be read")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # behind everything else: it must not hide an installed module
    _current.append(str(path))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever is wrong in the user's own file, they are told where
        del sys.modules[name]
        raise UsageError(_what_is_wrong(path, error)) from error
    finally:
        _current.pop()
    _read[path] = module


def _module_name(path: Path) -> str:
    if path.is_dir():
        raise UsageError(f"plugin {path} is a folder: give the Python file")
    if not path.is_file():
        raise UsageError(f"plugin {path} does not exist")
    if path.suffix != ".py":
        raise UsageError(f"plugin {path} is not a Python file (.py)")
    if not path.stem.isidentifier():
        raise UsageError(f"plugin {path}: the file's name must be usable as a module name, such as my_methods.py")
    known = sys.modules.get(path.stem)
    spec = known.__spec__ if known is not None else importlib.util.find_spec(path.stem)
    taken = known is not None or path.stem in sys.stdlib_module_names
    if taken or (spec is not None and Path(spec.origin or "").resolve() != path):
        where = spec.origin if known is not None and spec is not None and spec.origin else "Python or a package"
        raise UsageError(f"plugin {path}: the module name '{path.stem}' is taken by {where}: rename the file")
    return path.stem


def _what_is_wrong(path: Path, error: BaseException) -> str:
    """One sentence with the line of the plug-in where it happened."""
    own = isinstance(getattr(error, "exit_code", None), int)
    text = next(iter(str(error).strip().splitlines()), "")[:300]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"plugin {path}, line {error.lineno}: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    at = f", line {lines[-1]}" if lines else ""
    kind = "" if own else f"{type(error).__name__}: " if text else type(error).__name__
    return f"plugin {path}{at}: {kind}{text}"
