from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import metrics
from bench.cli.listing import table_of
from bench.errors import MissingError, UsageError
from bench.methods import get_method, method_names
from bench.methods.checkpoints import CHECKPOINTS, find_checkpoint, published, repository
from bench.methods.page import page
from bench.registry.families import ROWS
from bench.suite.load import load_suite, suite_names
from bench.suite.resolve import resolve_method
from bench.suite.schema import Suite

PAGE = Path(__file__).parents[4] / "docs" / "checkpoints.md"
FAMILIES = {row.name for row in ROWS}
NO_METRIC = {"geneval", "ocr", "geneval2", "unified_reward"}  # rewards that are measured by no metric here


def suite(family: str = "sd", **methods: dict[str, object]) -> Suite:
    data = {
        "name": "mine",
        "model": {"family": family, "weights": "owner/model"},
        "prompts": "shapes",
        "methods": methods,
        "metrics": {"lpips": {}},
    }
    return Suite.model_validate(data)


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_rows_name_what_there_is() -> None:
    assert len({checkpoint.weights for checkpoint in CHECKPOINTS}) == len(CHECKPOINTS)
    known = {*metrics.names(), *NO_METRIC}
    for checkpoint in CHECKPOINTS:
        assert checkpoint.method in method_names(), checkpoint
        assert checkpoint.family in FAMILIES, checkpoint
        assert set(checkpoint.trained_on) <= known, checkpoint
        assert checkpoint.licence, checkpoint
        assert checkpoint.source, checkpoint
        assert checkpoint.form, checkpoint
        assert get_method(checkpoint.method).citation, checkpoint
        assert (
            checkpoint.trained_on
            or "PickScore was fitted to as well" in checkpoint.note
            or "not stated" in checkpoint.note
        ), checkpoint


def test_the_methods_sample_as_the_checkpoints_ask() -> None:
    for checkpoint in CHECKPOINTS:
        method = get_method(checkpoint.method)
        # None is the suite's guidance, which the ready suites set to the base model's own.
        assert method.tuned_guidance in (None, checkpoint.guidance), checkpoint
        assert checkpoint.switch_step is None or checkpoint.method in ("imagerefl", "mixgrpo"), checkpoint


def test_every_form_of_the_papers_is_there() -> None:
    families = {checkpoint.method: {two.family for two in published(checkpoint.method)} for checkpoint in CHECKPOINTS}
    assert families == {
        "imagerefl": {"sd", "sdxl"},
        "dpo": {"sd", "sdxl"},
        "spo": {"sd", "sdxl"},
        "flowgrpo": {"sd3"},
        "diffusionnft": {"sd3"},
        "dancegrpo": {"flux"},
        "mixgrpo": {"flux"},
        "srpo": {"flux"},
        "flowdppo": {"sd3", "flux2"},
        "diffusionrvge": {"sd3"},
        "prefgrpo": {"flux"},
        "boxflow": {"flux"},
    }


def test_pins_are_commits_and_what_has_none_is_said() -> None:
    pinned = {checkpoint.weights: checkpoint for checkpoint in CHECKPOINTS if checkpoint.revision is not None}
    assert all(re.fullmatch("[0-9a-f]{40}", str(one.revision)) for one in pinned.values())
    one = pinned["jieliu/SD3.5M-FlowGRPO-PickScore"]
    assert one.pinned == f"{one.weights}@{one.revision}"
    assert find_checkpoint(one.pinned) == one
    rows = {row[0]: row[6] for row in table_of("models").rows}
    assert rows[one.weights] == str(one.revision)[:12]
    assert rows["shapes:pipeline"] == "shipped"
    inside = dataclasses.replace(one, weights="owner/name:unet")
    assert inside.pinned == f"owner/name@{one.revision}:unet"
    for name in suite_names():
        for told in load_suite(name).methods.values():
            known = find_checkpoint(told.weights) if told.weights else None
            assert known is None or known.revision is None or known.pinned == told.weights, told.weights
    text = page()
    for other in CHECKPOINTS:
        assert rows[other.weights] == ("not pinned" if other.revision is None else other.revision[:12])
        assert f"| `{other.weights}` | {'not pinned' if other.revision is None else f'`{other.revision}`'} |" in text


def test_a_checkpoint_is_found_by_its_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert repository("a/b@main:unet#sha256=00") == repository("a/b") == "a/b"
    found = find_checkpoint("mhdang/dpo-sd1.5-text2image-v1@abc:unet")
    assert found is not None
    assert found.method == "dpo"
    assert find_checkpoint("owner/unknown") is None
    (tmp_path / "tencent" / "SRPO").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("tencent/SRPO") is None  # a local folder of that name


def test_what_a_checkpoint_was_trained_on_is_known() -> None:
    hps, pick = (f"ControlGenAI/ImageReFL_{reward}_SD:fine_tuned_unet" for reward in ("HPS", "PickScore"))
    assert resolve_method("imagerefl", suite(imagerefl={"weights": hps})).trained_on == ("hpsv2.1",)
    told = suite(imagerefl={"weights": hps, "trained_on": ["hpsv2.1", "lpips"]})
    assert resolve_method("imagerefl", told).trained_on == ("hpsv2.1", "lpips")
    assert resolve_method("imagerefl", told, {"weights": pick}).trained_on == ("pickscore",)
    assert resolve_method("imagerefl", told, {"weights": "owner/mine"}).trained_on == ()


def test_a_checkpoint_of_another_family_is_refused_before_it_is_fetched() -> None:
    with pytest.raises(UsageError) as caught:
        resolve_method("srpo", suite("sd"), {"weights": "tencent/SRPO:diffusion_pytorch_model.safetensors"})
    text = str(caught.value)
    assert "tuned from black-forest-labs/FLUX.1-dev (family 'flux'), but the model of suite 'mine' is of family" in text
    assert "Published for 'sd': ControlGenAI/ImageReFL_HPS_SD:fine_tuned_unet" in text


def test_absent_weights_name_the_checkpoints_of_the_suites_family() -> None:
    with pytest.raises(MissingError) as caught:
        resolve_method("imagerefl", suite("sdxl"))
    text = str(caught.value)
    assert "ControlGenAI/ImageReFL_HPS_SDXL:fine_tuned_unet" in text
    assert "ImageReFL_HPS_SD:" not in text
    with pytest.raises(
        MissingError, match="no ReFL checkpoint; checkpoints of other methods: ControlGenAI/ImageReFL_HPS_"
    ):
        resolve_method("refl", suite("sd"))
    with pytest.raises(MissingError, match="its published checkpoints are for other models: flux"):
        resolve_method("srpo", suite("sd"))
    with pytest.raises(MissingError, match="published checkpoints are ControlGenAI/ImageReFL_HPS_SD:"):
        resolve_method("mine", suite("sd", mine={"like": "imagerefl"}))


def test_they_are_listed() -> None:
    rows = {row[0]: row for row in table_of("models").rows}
    assert {checkpoint.weights for checkpoint in CHECKPOINTS} < set(rows)
    row = rows["worstcoder/SD3.5M-DiffusionNFT-MultiReward"]
    assert row[1:6] == ("sd3", "diffusionnft", "pickscore, hpsv2.1, clip_score", "none", "40")
    methods = {row[0]: row for row in table_of("methods").rows}
    assert methods["imagerefl"][3:5] == ("suite's / none", "4 published, bench train imagerefl")
    assert methods["base"][3:5] == ("suite's", "-")


def test_a_soup_was_trained_on_what_any_of_its_parts_was() -> None:
    published = {one.trained_on: one for one in reversed(CHECKPOINTS) if one.trained_on and one.family == "sd"}
    (first, a), (second, b), *_ = published.items()
    found = resolve_method("soup", suite(), {"soup": f"owner/mine,{a.weights},{b.weights}"})
    assert set(found.trained_on) == {*first, *second}
