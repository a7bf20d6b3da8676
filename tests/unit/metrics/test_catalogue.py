import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import metrics
from metrics import Direction, Facts, Kind
from metrics.builtin import BUILTIN
from metrics.types import LAST


def test_import_and_facts_are_light() -> None:
    code = (
        "import sys, metrics; metrics.names(); metrics.info('fid');"
        "heavy = {'torch', 'pandas', 'numpy', 'PIL', 'transformers', 'scipy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_metrics_import_nothing_of_bench() -> None:
    for path in sorted(Path(metrics.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "bench"], path


# Names are in suites, thresholds and results: none of these goes away or changes its kind.
KINDS = {
    "image": ["image_reward", "hpsv2", "hpsv2.1", "pickscore", "clip_score", "aesthetic", "hpsv3", "mps"],
    "group": ["lpips", "dreamsim", "dino", "vendi", "clip_diversity"],
    "set": ["fid", "fid_clean", "fid_torchmetrics", "kid", "cmmd", "fd_dinov2"],
}


def test_no_metric_goes_away() -> None:
    builtin = [facts.name for _, facts in BUILTIN]
    assert len(set(builtin)) == len(builtin)
    assert metrics.names()[: len(builtin)] == builtin
    for kind, names in KINDS.items():
        assert [metrics.info(name).kind.value for name in names] == [kind] * len(names)
    assert metrics.info("fid").direction is Direction.LOWER
    assert metrics.info("lpips").kind is Kind.GROUP


@pytest.mark.parametrize("name", [facts.name for _, facts in BUILTIN])
def test_every_metric_declares_its_facts(name: str) -> None:
    facts = metrics.info(name)
    assert facts.title
    assert facts.unit
    assert facts.licence
    assert facts.citation
    assert facts.order < LAST
    assert json.loads(json.dumps(facts.to_dict()))["kind"] in KINDS


def test_unknown_names_are_one_sentence_with_a_suggestion() -> None:
    with pytest.raises(
        metrics.UnknownMetricError, match=r"^unknown metric 'pikscore'\. Did you mean 'pickscore'"
    ) as caught:
        metrics.info("pikscore")
    assert caught.value.exit_code == 2
    with pytest.raises(metrics.UnknownMetricError, match="no option 'antialiased'"):
        metrics.load("hpsv2", antialiased=True)
    with pytest.raises(metrics.MetricError, match="dtype 'float23'"):
        metrics.load("fid", dtype="float23")


def test_a_metric_that_a_plug_in_only_names_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from metrics import catalogue

    monkeypatch.setattr(catalogue, "_FACTS", dict(catalogue._FACTS))
    monkeypatch.setattr(catalogue, "_TARGETS", dict(catalogue._TARGETS))
    facts = Facts("closed", "Closed", Kind.IMAGE, Direction.HIGHER, unsupported="its weights are not published")
    metrics.register("closed", "metrics.unsupported:Unsupported", facts)
    with pytest.raises(
        metrics.MetricError, match=r"^metric 'closed' \(Closed\) is not supported, because its .*[^.]$"
    ) as caught:
        metrics.load("closed", weights="/nowhere")
    assert caught.value.exit_code == 2  # nothing that could be installed or fetched mends it
    assert metrics.info("closed").to_dict()["unsupported"]


def test_every_metric_of_the_catalogue_is_supported() -> None:
    assert [name for name in metrics.names() if metrics.info(name).unsupported] == []


def test_register(monkeypatch: pytest.MonkeyPatch) -> None:
    from metrics import catalogue

    monkeypatch.setattr(catalogue, "_FACTS", dict(catalogue._FACTS))
    monkeypatch.setattr(catalogue, "_TARGETS", dict(catalogue._TARGETS))
    facts = Facts(name="mine", title="Mine", kind=Kind.IMAGE, direction=Direction.HIGHER)
    metrics.register("mine", "absent_package_x.scorer:Mine", facts)
    metrics.register("mine", "absent_package_x.scorer:Mine", facts)
    assert metrics.info("mine") is facts
    with pytest.raises(metrics.MetricError, match="already used by absent_package_x"):
        metrics.register("mine", "other:Mine", facts)
    with pytest.raises(metrics.MetricError, match="module:Class"):
        metrics.register("mine2", "other.Mine", facts)
    with pytest.raises(metrics.MissingWeightsError, match="absent_package_x") as caught:
        metrics.load("mine")
    assert caught.value.exit_code == 4


def test_broken_plugin_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from metrics import catalogue

    class Point:
        name = "broken"

        def load(self) -> None:
            raise ImportError("no such thing")

    monkeypatch.setattr(catalogue, "_plugins_read", False)
    monkeypatch.setattr(catalogue, "_BROKEN", {})
    monkeypatch.setattr(catalogue, "entry_points", lambda group: [Point()])
    assert "fid" in metrics.names()
    with pytest.raises(metrics.UnknownMetricError, match="Plug-in 'broken' could not be read"):
        metrics.info("broken")


@pytest.mark.parametrize("option", ["antialias", "autocast"])
@pytest.mark.parametrize("value", ["false", "true", 0, 1, 0.5, None])
def test_a_switch_is_on_or_off_and_nothing_that_looks_like_it(option: str, value: object) -> None:
    with pytest.raises(metrics.MetricError, match=rf"metric 'hpsv2': {option} = .* must be true or false"):
        metrics.load("hpsv2", weights="nowhere", **{option: value})
