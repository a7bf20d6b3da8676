"""A method that saw the images a set metric compares with: said, kept with the run, and gone when no longer true."""

from __future__ import annotations

import pytest

from bench.scoring.leakage import trained_on_data, with_leakage
from bench.suite.load import load_suite
from bench.suite.resolve import resolve_method
from bench.suite.schema import Reference, Suite

COCO = Reference(kind="folder", path="coco", name="coco-val2017")
SAID = (
    "FID: the method was trained on 'coco-train', the collection of its reference set 'coco-val2017'; "
    "the others may not have been"
)


@pytest.mark.parametrize(
    "weights", ["ControlGenAI/ImageReFL_HPS_SD:fine_tuned_unet", "ControlGenAI/ImageReFL_PickScore_SDXL@main"]
)
def test_published_checkpoints_are_known_by_their_weights(weights: str) -> None:
    assert trained_on_data({"name": "any", "weights": weights}) == ("coco-train",)
    assert trained_on_data({"weights": weights, "trained_on_data": ["mine"]}) == ("mine",)  # the suite knows better


def test_a_name_alone_says_nothing_of_the_data() -> None:
    """Own weights of the same method, such as those of the embedded suite, saw other images."""
    assert trained_on_data({"name": "imagerefl", "weights": "shapes:imagerefl"}) == ()
    assert trained_on_data({"name": "base", "weights": None}) == ()
    assert trained_on_data({}) == ()


def test_only_set_metrics_with_a_named_reference() -> None:
    method = {"weights": "ControlGenAI/ImageReFL_HPS_SD:fine_tuned_unet"}
    scored = ["lpips", "fid", "image_reward", "kid"]
    notes = {"fid": ["FID over 160 images"], "lpips": ["one"]}
    found = with_leakage(notes, scored, COCO, method)
    assert found == {
        "fid": ["FID over 160 images", SAID],
        "lpips": ["one"],
        "kid": [SAID.replace("FID", "KID")],
    }
    assert with_leakage(found, scored, COCO, method) == found  # not said twice
    assert with_leakage(found, scored, COCO, {"weights": "elsewhere/model"}) == notes
    assert with_leakage(found, scored, Reference(kind="folder", path="coco"), method) == notes
    assert with_leakage(notes, scored, None, method) == notes


def test_a_suite_says_what_its_methods_saw() -> None:
    data = load_suite("shapes").model_dump()
    data["methods"]["refl"]["trained_on_data"] = ["coco-train2017"]
    data["reference"]["name"] = "coco-val2017"
    suite = Suite.model_validate(data)
    method = resolve_method("refl", suite).to_dict()
    assert trained_on_data(method) == ("coco-train2017",)
    assert suite.reference is not None
    assert "coco-train2017" in with_leakage({}, ["fid"], suite.reference, method)["fid"][0]


def test_what_a_suite_says_holds_for_its_own_weights_only() -> None:
    data = load_suite("shapes").model_dump()
    data["methods"]["refl"]["trained_on_data"] = ["coco-train2017"]
    method = resolve_method("refl", Suite.model_validate(data), {"weights": "shapes:imagerefl"})
    assert trained_on_data(method.to_dict()) == ()
