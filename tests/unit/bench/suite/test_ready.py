"""The suites that are shipped say what the papers' code says, and name things that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import prompts
from bench.cli.listing import table_of
from bench.errors import MissingError
from bench.methods.checkpoints import CHECKPOINTS, find_checkpoint, repository
from bench.suite.load import load_suite, suite_names
from bench.suite.page import page
from bench.suite.resolve import resolve_method, resolve_methods

PAGE = Path(__file__).parents[4] / "docs" / "suites.md"
READY = [name for name in suite_names() if name not in ("shapes", "shapes-acceleration", "images")]
SETTINGS = {  # suite -> steps, guidance, resolution, images per prompt
    "sd15-hpdv2": (40, 7.5, 512, 5),
    "sdxl-hpdv2": (40, 5.0, 512, 5),
    "sd15-coco": (40, 7.5, 512, 1),
    "sd35-pickapic": (40, 4.5, 512, 4),
    "pixart-hpdv2": (15, 4.5, 512, 5),
    "flux-acceleration": (50, 1.0, 1024, 5),
    "flux-hpdv2": (50, 1.0, 1024, 5),
    "flux2-hpdv2": (50, 4.0, 1024, 5),
    "z_image-hpdv2": (50, 6.0, 1024, 5),
    "qwen_image-hpdv2": (50, 4.0, 1024, 5),
    "sana-hpdv2": (20, 4.5, 1024, 5),
}


def test_they_are_all_there() -> None:
    assert set(READY) == set(SETTINGS)
    assert {row[0] for row in table_of("suites").rows} == {"shapes", "shapes-acceleration", "images", *READY}


@pytest.mark.parametrize("name", READY)
def test_settings(name: str) -> None:
    suite = load_suite(name)
    assert (suite.sampler.steps, suite.guidance, suite.resolution, suite.samples) == SETTINGS[name]
    assert (suite.seed, suite.dtype, suite.label) == (42, "bfloat16", None)
    assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", suite.model.weights)
    assert suite.prompts in prompts.public_sets()


@pytest.mark.parametrize("name", READY)
def test_methods_sample_their_checkpoints_as_published(name: str) -> None:
    suite = load_suite(name)
    for method_name, told in suite.methods.items():
        if told.weights is None:
            continue
        method = resolve_method(method_name, suite)
        known = find_checkpoint(told.weights)
        assert known is not None, method_name
        assert told.weights == known.pinned
        assert (known.family, known.base) == (suite.model.family, repository(suite.model.weights))
        assert method.trained_on == known.trained_on
        embedded = suite.model.embedded_guidance
        assert known.guidance == (method.tuned_guidance if embedded is None else embedded)
        assert known.switch_step in (None, method.schedule.switch_step)


def test_every_checkpoint_for_a_suites_model_is_in_a_suite_in_one_form() -> None:
    """Those of which nothing says how they are sampled aside."""
    used = {told.weights for name in READY for told in load_suite(name).methods.values()}
    stated = [checkpoint for checkpoint in CHECKPOINTS if checkpoint.guidance is not None]
    forms = {(checkpoint.method, checkpoint.family, checkpoint.trained_on) for checkpoint in stated}
    assert forms == {
        (checkpoint.method, checkpoint.family, checkpoint.trained_on)
        for checkpoint in CHECKPOINTS
        if checkpoint.pinned in used
    }


def test_refl_on_sd15_says_what_there_is_and_how_to_make_one() -> None:
    with pytest.raises(MissingError) as caught:
        resolve_method("refl", load_suite("sd15-hpdv2"))
    text = str(caught.value)
    assert "the paper's authors published no ReFL checkpoint" in text
    assert "checkpoints of other methods: ControlGenAI/ImageReFL_HPS_SD:fine_tuned_unet" in text
    assert "`bench train refl --suite sd15-hpdv2`" in text
    assert "`--set weights=PATH_OR_HUB_ID`" in text


def test_the_papers_sweep_in_one_call() -> None:
    suite = load_suite("sd15-hpdv2")
    settings = {
        "switch_step": "0,20,25,30,35,38",
        "combined.weights": "my/refl",
        "power": "1,2,3",
        "aig.weights": "my/refl",
    }
    names = [method.name for method in resolve_methods(["base", "combined", "aig"], suite, settings)]
    assert len(names) == len(set(names)) == 1 + 6 + 3
    assert names.count("base") == 1
    assert "combined[switch_step=0,weights=my/refl]" in names
    assert "combined[weights=my/refl]" in names  # 30 is the method's own: the same run as without the setting


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
