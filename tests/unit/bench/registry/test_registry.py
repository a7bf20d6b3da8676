from __future__ import annotations

import math
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import metrics
from bench.errors import MissingError, UsageError
from bench.registry import registry
from bench.registry.metrics import ensure_metrics, metric_names
from bench.registry.registry import Registry


def test_a_target_is_imported_on_first_use() -> None:
    things: Registry[object] = Registry("thing")
    things.add("sep", "os.path:sep")
    things.add("number", 7)
    assert things.names() == ["sep", "number"]
    assert (things.get("sep"), things.get("number")) == (__import__("os").sep, 7)
    things.add("sep", "os.path:sep")  # the same target again, after it was loaded
    assert (things.origin("sep"), things.origin("number")) == ("os.path:sep", "bench")


def test_an_unknown_name_is_suggested() -> None:
    things: Registry[int] = Registry("thing")
    things.add("number", 7)
    with pytest.raises(UsageError, match="unknown thing 'numbr'. Did you mean 'number'. Known things: number"):
        things.get("numbr")


def test_a_taken_name_is_refused_unless_it_is_the_same_thing() -> None:
    things: Registry[int] = Registry("thing")
    things.add("number", 7)
    things.add("number", 7)
    with pytest.raises(UsageError, match="thing 'number' is already defined by bench: use another name"):
        things.add("number", 8)


@pytest.mark.parametrize("target", ["no_such_module:x", "os.path:no_such_attribute"])
def test_what_cannot_be_imported_is_missing(target: str) -> None:
    things: Registry[int] = Registry("thing")
    things.add("x", target)
    with pytest.raises(MissingError, match=f"thing 'x' cannot be loaded from {target}"):
        things.get("x")


def test_entry_points_are_read_late_and_never_replace(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    asked: list[str] = []
    points = [EntryPoint("pi", "math:pi", "bench.things"), EntryPoint("number", "math:e", "bench.things")]
    monkeypatch.setattr(registry, "entry_points", lambda group: (asked.append(group), points)[1])
    things: Registry[float] = Registry("thing")
    things.add("number", 7.0)
    assert things.get("number") == 7.0
    assert asked == []
    assert things.names() == ["number", "pi"]
    assert things.get("pi") == math.pi
    assert things.get("number") == 7.0
    assert asked == ["bench.things"]
    assert len(said) == 1
    assert said[0].startswith("math:e is ignored: thing 'number' is already defined")


def test_the_metrics_of_the_embedded_world_are_made_known() -> None:
    ensure_metrics()
    ensure_metrics()
    assert {"attribute_accuracy", "attribute_entropy", "lpips"} <= set(metric_names())
    assert metrics.info("attribute_accuracy").kind == metrics.Kind.IMAGE
    assert metrics.info("attribute_entropy").kind == metrics.Kind.GROUP


LIGHT = """
import sys
import bench, bench.errors, bench.formatting, bench.methods, bench.registry.metrics, bench.runtime.log
import bench.runtime.provenance, bench.analysis.load_results, bench.store.records, bench.store.run_store
import bench.suite.load, bench.suite.plan, metrics, prompts
bench.registry.metrics.metric_names(), bench.methods.method_names(), bench.suite.load.load_suite("shapes")
heavy = {"torch", "pandas", "numpy", "pyarrow", "diffusers", "transformers", "PIL", "matplotlib", "huggingface_hub"}
print(sorted(heavy & set(sys.modules)))
"""


def test_the_core_imports_nothing_heavy() -> None:
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", LIGHT], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
