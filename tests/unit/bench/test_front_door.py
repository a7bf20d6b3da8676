"""The public names of `bench` are what they seem: plain functions and classes that pickle, with full signatures."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import subprocess
import sys
import typing
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import bench
from bench.cli.app import COMMANDS

ROOT = Path(__file__).parents[3]
FUNCTIONS = [name for name in bench.__all__ if name[0].islower()]
OTHER_NAMES = {
    "method": "methods",
    "compile_networks": "compile",
    "no_title": "title",
}  # a flag that is repeated; a builtin's name
# How a command prints what the function returns; the function of another command.
ONLY_FLAGS = {"as_json", "check", "dry_run", "markdown", "track"}


def test_the_public_names_are_sorted_and_there() -> None:
    assert list(bench.__all__) == sorted(set(bench.__all__))
    assert set(bench.__all__) <= set(dir(bench))
    with pytest.raises(AttributeError, match="module 'bench' has no attribute 'nothing'"):
        bench.nothing  # noqa: B018


@pytest.mark.parametrize("name", bench.__all__)
def test_a_name_is_one_thing_that_pickles(name: str) -> None:
    thing = getattr(bench, name)
    assert thing is getattr(bench, name)
    assert pickle.loads(pickle.dumps(thing)) is thing
    assert thing.__name__ == name
    assert isinstance(thing, FunctionType if name in FUNCTIONS else type)
    assert thing.__doc__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_are_complete(name: str) -> None:
    function = getattr(bench, name)
    signature = inspect.signature(function)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    assert all(parameter.annotation is not parameter.empty for parameter in signature.parameters.values())
    assert signature.return_annotation is not signature.empty
    positional = [p for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert len(positional) <= 5, "what is not the subject of the call is given by its name"


def test_run_says_what_it_takes() -> None:
    parameters = inspect.signature(bench.run).parameters
    assert {"suite", "methods", "results", "device", "seed", "samples", "limit", "metrics"} <= set(parameters)
    hints = typing.get_type_hints(importlib.import_module(bench.run.__module__).run)
    assert Any not in hints.values()


def test_names_stay_functions_whatever_was_imported() -> None:
    before = {name: getattr(bench, name) for name in bench.__all__}
    for module in pkgutil.walk_packages([str(ROOT / "bench")], "bench."):
        if module.name.count(".") == 1 and module.name != "bench.__main__":
            importlib.import_module(module.name)
    assert {name: getattr(bench, name) for name in bench.__all__} == before
    modules = {path.name.removesuffix(".py") for path in (ROOT / "bench").iterdir()}
    assert not modules & set(bench.__all__)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) & set(COMMANDS)))
def test_what_a_flag_does_a_keyword_does(name: str) -> None:
    keywords = set(inspect.signature(getattr(bench, name)).parameters)
    flags = {OTHER_NAMES.get(flag, flag) for flag in inspect.signature(COMMANDS[name]).parameters}
    assert flags - keywords <= ONLY_FLAGS


@pytest.mark.slow
def test_as_the_first_thing_in_a_process() -> None:
    code = """
import bench, inspect, pickle
pickle.dumps(bench.report)
assert bench.report is bench.report
assert "suite" in inspect.signature(bench.run).parameters
from bench import *
assert compare is bench.compare
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
