"""Which metrics are in memory together: never more than the largest takes alone; and none takes the others with it."""

from __future__ import annotations

import gc
import math
import sys
import weakref
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import metrics
from bench.scoring import memory as models
from bench.scoring.memory import Models, expected_bytes, file_bytes, free_bytes, size_of
from bench.scoring.metric_weights import load_metric
from bench.suite.metric_spec import MetricSpec
from metrics import Direction, Facts, Kind, Request

TOO_LITTLE = (
    "there is too little memory on 'cpu' (it needs about 0.1 GiB): free some and run the command again, which makes "
    "what is missing"
)
NAMES = ("a", "b", "c", "d", "e")
ALIVE: dict[str, Any] = {}
"""Name -> weak reference to the metric that was loaded last."""
PEAKS: list[int] = []
"""Bytes of all living metrics at each load."""


class Sized:
    """A metric of so many floats."""

    def __init__(self, floats: int) -> None:
        self.tensor = torch.zeros(floats)

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Sized:
        options = request.options
        if options["fault"]:
            raise {
                "missing": metrics.MissingWeightsError("its weights are not there."),
                "memory": MemoryError(),
                "device": torch.OutOfMemoryError("CUDA out of memory"),
                "bug": ZeroDivisionError("a bug"),
            }[options["fault"]]
        made = cls(options["floats"])
        ALIVE[facts.name] = weakref.ref(made)
        gc.collect()
        PEAKS.append(sum(4 * len(one.tensor) for ref in ALIVE.values() if (one := ref()) is not None))
        return made


@pytest.fixture(scope="module", autouse=True)
def _quick_collections() -> None:
    """What was imported since the start as well is left out of every `gc.collect()`, of which each test makes many."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def sized(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("bench_sized_metrics")
    module.Sized = Sized  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bench_sized_metrics", module)
    for name in NAMES:
        options = {"floats": 1, "fault": ""}
        facts = Facts(f"sized_{name}", name, Kind.IMAGE, Direction.HIGHER, weights="a/b", options=options)
        metrics.register(facts.name, "bench_sized_metrics:Sized", facts)
    monkeypatch.setattr(models, "FLOOR", 0)
    monkeypatch.setattr(models, "HEADROOM", 0)
    monkeypatch.setattr(models, "free_bytes", lambda _: math.inf)
    ALIVE.clear()
    PEAKS.clear()


def suite_of(folder: Path, sizes: dict[str, int], files: dict[str, int] | None = None, **faults: str) -> Any:
    """A suite of metrics with so many floats, whose files say the same unless `files` says otherwise."""
    specs = {}
    for name, floats in sizes.items():
        path = folder / f"{name}.safetensors"
        save_file({"w": torch.zeros((files or {}).get(name, floats))}, path)
        options = {"floats": floats, "fault": faults.get(name, "")}
        specs[f"sized_{name}"] = MetricSpec(weights=str(path), options=options)
    return SimpleNamespace(metrics=specs, label=None)


def groups_of(loaded: Models) -> list[str]:
    """The groups as words: "a bc" is a alone, then b and c."""
    return " ".join("".join(name.removeprefix("sized_") for name in group) for group in loaded.groups()).split()


def loading(suite: Any) -> Models:
    return Models(list(suite.metrics), suite, "cpu")


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ({"a": 100, "b": 60, "c": 30, "d": 30}, ["a", "bc", "d"]),
        ({"a": 30, "b": 60, "c": 100, "d": 10}, ["abd", "c"]),  # what still fits goes beside
        ({"a": 100, "b": 100, "c": 100}, ["a", "b", "c"]),
        ({"a": 50, "b": 50}, ["a", "b"]),
        ({"a": 1}, ["a"]),
    ],
)
def test_a_group_takes_no_more_than_the_largest(sizes: dict[str, int], wanted: list[str], tmp_path: Path) -> None:
    loaded = loading(suite_of(tmp_path, sizes))
    assert groups_of(loaded) == wanted
    assert loaded.failures == {}
    assert loaded.waiting == ()
    assert max(PEAKS) <= 4 * max(sizes.values())  # one group is gone before the next is loaded


def test_small_ones_share_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "FLOOR", 4 * 120)
    assert groups_of(loading(suite_of(tmp_path, {"a": 50, "b": 50, "c": 50}))) == ["ab", "c"]


def test_little_free_memory_makes_smaller_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "HEADROOM", 4 * 50)
    monkeypatch.setattr(models, "free_bytes", lambda _: 4.0 * 100)  # 50 of it may be used
    sizes = {"a": 100, "b": 30, "c": 20, "d": 10}
    assert groups_of(loading(suite_of(tmp_path, sizes))) == ["a", "bc", "d"]  # a alone is tried all the same


@pytest.mark.parametrize(
    ("free", "wanted"),
    [(1000.0, ["abcd"]), (290.0, ["abc", "d"]), (100.0, ["a", "bc", "d"]), (10.0, ["a", "b", "c", "d"])],
)
def test_on_a_device_of_its_own_memory_all_that_fit_are_together(
    free: float, wanted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "free_bytes", lambda _: 4.0 * free)
    suite = suite_of(tmp_path, {"a": 100, "b": 60, "c": 10, "d": 40})
    monkeypatch.setattr("bench.runtime.devices.prepare_torch", lambda _: "cuda")  # where the sizes are never loaded
    loaded = Models(list(suite.metrics), suite, "cuda")
    monkeypatch.setattr(loaded, "_load", lambda name: loaded_on_cpu(name, suite))
    assert groups_of(loaded) == wanted


def loaded_on_cpu(name: str, suite: Any) -> Any:
    return load_metric(name, suite.metrics[name], "cpu")


def test_a_file_that_promised_less_waits_for_its_turn(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, {"a": 50, "b": 90, "c": 100}, files={"b": 5})
    assert groups_of(loading(suite)) == ["a", "c", "b"]
    assert max(PEAKS) == 4 * 140  # once: what a file hides is only seen when it was loaded


def test_unknown_sizes_are_loaded_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = suite_of(tmp_path, {"a": 10, "b": 10, "c": 10})
    monkeypatch.setattr(models, "expected_bytes", lambda name, _: None if name == "sized_b" else 40)
    monkeypatch.setattr(models, "FLOOR", 4 * 25)
    assert groups_of(loading(suite)) == ["ac", "b"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("missing", "its weights are not there"),
        ("memory", TOO_LITTLE),
        ("device", TOO_LITTLE),
    ],
)
def test_one_that_cannot_be_loaded_leaves_the_others(
    fault: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = suite_of(tmp_path, {"a": 10, "b": 20, "c": 10}, b=fault)
    monkeypatch.setattr(models, "expected_bytes", lambda *_: 100 << 20)
    monkeypatch.setattr(models, "FLOOR", 1 << 40)
    loaded = loading(suite)
    assert groups_of(loaded) == ["ac"]
    assert {name: str(error) for name, error in loaded.failures.items()} == {"sized_b": said}
    assert loaded.failures["sized_b"].exit_code == 4  # type: ignore[attr-defined]


def test_all_that_fail_are_told(tmp_path: Path) -> None:
    loaded = loading(suite_of(tmp_path, {"a": 1, "b": 1}, a="missing", b="missing"))
    assert groups_of(loaded) == []
    assert set(loaded.failures) == {"sized_a", "sized_b"}


def test_a_bug_is_not_swallowed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        groups_of(loading(suite_of(tmp_path, {"a": 1}, a="bug")))


def test_waiting_says_what_is_to_come(tmp_path: Path) -> None:
    loaded = loading(suite_of(tmp_path, {"a": 100, "b": 100, "c": 100}))
    seen = []
    for _ in loaded.groups():
        seen.append([name.removeprefix("sized_") for name in loaded.waiting])
    assert seen == [["b", "c"], ["c"], []]


# --- sizes


def test_sizes_are_of_float32_whatever_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(10, 3, dtype=torch.float16), "b": torch.zeros((), dtype=torch.float16)}, path)
    assert file_bytes(path) == 4 * 31
    torch.save({"state_dict": {"a": torch.zeros(7, dtype=torch.bfloat16)}}, tmp_path / "w.pt")
    assert file_bytes(tmp_path / "w.pt") == 4 * 7
    (tmp_path / "readme.txt").write_text("not counted")
    assert expected_bytes("sized_a", str(tmp_path)) == 4 * 38
    assert expected_bytes("sized_a", str(path)) == 4 * 31


def test_a_file_that_cannot_be_read_counts_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"x" * 123)
    assert file_bytes(tmp_path / "w.pt") == 123
    assert file_bytes(tmp_path / "none.pt") == 0


def test_weights_that_are_not_here_have_no_size_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.scoring.metric_weights.cached", lambda _: None)
    assert expected_bytes("sized_a", None) is None
    assert expected_bytes("sized_a", str(tmp_path / "nothing")) is None
    facts = Facts("sized_none", "none", Kind.IMAGE, Direction.HIGHER)
    metrics.register("sized_none", "bench_sized_metrics:Sized", facts)
    assert expected_bytes("sized_none", None) == 0  # it has none


def test_published_packages_say_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file says it: these are the parameters of the largest network that an option chooses, in float32."""
    from dreamsim.feature_extraction.vision_transformer import vit_base
    from torchvision.models import vgg16

    trunk = sum(weight.numel() for weight in vit_base(patch_size=16, num_classes=0).parameters())
    adapter = 12 * 16 * (768 + 3 * 768)  # of each block's qkv, rank 16
    ensemble = 4 * (3 * (trunk + adapter) + 2 * 768 * 512)
    assert expected_bytes("dreamsim", None) == pytest.approx(ensemble, rel=0.001)
    with torch.device("meta"):
        layers = vgg16(weights=None).features
    assert expected_bytes("lpips", None) == pytest.approx(4 * sum(w.numel() for w in layers.parameters()), rel=0.02)


class Slotted:
    __slots__ = ("tensor",)

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


class Holder:
    def __init__(self) -> None:
        self.network = torch.nn.Linear(10, 10)  # 110
        self.network.register_buffer("hidden", torch.zeros(5), persistent=False)
        self.same = self.network
        self.view = self.network.weight[:2]  # part of what is counted
        self.parts = {"list": [torch.zeros(7)], "slots": Slotted(torch.zeros(11))}
        closed = torch.zeros(13)
        self.function = lambda: closed
        self.bound = Slotted(torch.zeros(17)).__getattribute__
        self.method = Other().call
        self.module = torch
        self.itself = self


class Other:
    def __init__(self) -> None:
        self.tensor = torch.zeros(19)

    def call(self) -> None:
        """Bound to what holds a tensor."""


def test_all_that_a_metric_holds_is_counted_once() -> None:
    holder = Holder()
    wanted = 4 * (110 + 5 + 7 + 11 + 13 + 19)
    assert size_of([holder]) == wanted
    assert size_of([holder, holder.network, holder]) == wanted
    assert size_of([]) == 0


def test_free_memory_is_told_where_the_system_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_bytes("cpu") > 1 << 20
    monkeypatch.setattr(Path, "read_text", lambda _: (_ for _ in ()).throw(OSError()))
    assert free_bytes("cpu") == math.inf
