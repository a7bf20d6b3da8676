from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from bench.errors import UsageError
from bench.suite.load import load_suite, suite_names
from bench.suite.schema import Suite

MINIMAL = """
prompts = "shapes"
[model]
weights = "shapes:pipeline"
[metrics.lpips]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "x.toml"
    path.write_text(text)
    return path


def test_the_embedded_suite_is_the_contract() -> None:
    suite = load_suite("shapes")
    assert "shapes" in suite_names()
    assert (suite.name, suite.label, suite.prompts) == ("shapes", "shapes", "shapes")
    assert (suite.samples, suite.seed, suite.resolution, suite.dtype) == (5, 42, 64, "float32")
    assert (suite.sampler.scheduler, suite.sampler.steps) == ("DDPMScheduler", 40)
    assert list(suite.metrics) == [
        "pickscore",
        "hpsv2.1",
        "image_reward",
        "attribute_accuracy",
        "lpips",
        "dreamsim",
        "attribute_entropy",
        "fid",
        "kid",
    ]
    assert {"refl", "combined", "imagerefl"} <= set(suite.methods)
    assert suite.reference is not None
    assert (suite.reference.kind, suite.reference.count, suite.reference.seed) == ("shapes", 2000, 7)


def test_every_shipped_suite_loads() -> None:
    for name in suite_names():
        assert load_suite(name).name == name


def test_a_file_needs_little(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, MINIMAL))
    assert (suite.name, suite.samples, suite.limit, suite.reference) == ("x", 5, None, None)


def test_a_suite_is_frozen_and_becomes_json() -> None:
    suite = load_suite("shapes")
    with pytest.raises(ValidationError):
        suite.samples = 3  # type: ignore[misc]
    assert Suite.model_validate(json.loads(json.dumps(suite.resolved()))) == suite


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("samples = 0\n" + MINIMAL, "samples must be at least 1, got 0"),
        ("samples = true\n" + MINIMAL, "samples must be an integer, got True"),
        ("samples = 2.5\n" + MINIMAL, "samples must be an integer, got 2.5"),
        ("limit = -3\n" + MINIMAL, "limit must be at least 1, got -3"),
        ("seed = -1\n" + MINIMAL, "seed must be at least 0, got -1"),
        ("seed = '42'\n" + MINIMAL, "seed must be an integer, got '42'"),
        ("guidance = 0.5\n" + MINIMAL, "guidance must be at least 1, got 0.5"),
        ("guidance = nan\n" + MINIMAL, "guidance must be a finite number, got nan"),
        ("guidance = 'x'\n" + MINIMAL, "guidance must be a number, got 'x'"),
        ("dtype = 'int8'\n" + MINIMAL, "dtype must be 'float32', 'float16', 'bfloat16' or 'server', got 'int8'"),
        ("resolution = 100\n" + MINIMAL, "resolution must be a multiple of 8, got 100"),
        ("name = 'a/b'\n" + MINIMAL, "name must be usable as a folder name"),
        ("name = ''\n" + MINIMAL, "name must not be empty, got ''"),
        ("sampels = 3\n" + MINIMAL, "unknown key 'sampels'. Did you mean 'samples'?"),
        (MINIMAL + "[sampler]\nsteps = 0\n", "sampler.steps must be at least 1, got 0"),
        (MINIMAL + "[sampler]\nstep = 5\n", "unknown key 'sampler.step'. Did you mean 'steps'?"),
        (MINIMAL + "[methods.refl]\nwieghts = 'x'\n", "unknown key 'methods.refl.wieghts'. Did you mean 'weights'?"),
        (
            MINIMAL.replace("[model]", "[model]\nfamily = 'sdlx'"),
            "unknown model family 'sdlx'. Did you mean 'sdxl'? Known",
        ),
        (MINIMAL + "[methods.refl]\nvalue = 2.0\n", "methods.refl.value must be at most 1, got 2.0"),
        (MINIMAL + "[methods.refk]\nweights = 'x'\n", "unknown method 'refk'. Did you mean 'refl'?"),
        (MINIMAL + "[methods.mine]\nlike = 'refk'\n", "unknown method 'refk'. Did you mean 'refl'?"),
        (MINIMAL + "[methods.'../x']\nlike = 'refl'\n", "methods '../x' must be usable as a folder name"),
        (MINIMAL + "[metrics.lpip]\n", "unknown metric 'lpip'. Did you mean 'lpips'?"),
        (MINIMAL + "[reference]\nkind = 'folder'\n", "reference needs a path, since its kind is 'folder'"),
        (MINIMAL + "[reference]\nkind = 'web'\n", "reference.kind must be 'shapes' or 'folder', got 'web'"),
        (MINIMAL.replace("[metrics.lpips]", "[metrics]"), "metrics must not be empty, got {}"),
        ('prompts = "shapes"\n[metrics.lpips]\n', "model is missing"),
        ("model = 3\nprompts = 'shapes'\n[metrics.lpips]\n", "model must be a table, got 3"),
        ("samples = \n", "not valid TOML: Invalid value (at line 1, column 11)"),
    ],
)
def test_mistakes_name_the_file_and_the_key(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_suite(path)
    assert str(caught.value).startswith(f"{path}: {words}")
    assert "\n" not in str(caught.value)


def test_unknown_and_absent_suites(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown suite 'shpes'. Did you mean 'shapes'"):
        load_suite("shpes")
    with pytest.raises(UsageError, match=r"suite file .*none\.toml does not exist"):
        load_suite(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="has a NUL in its name"):
        load_suite(str(tmp_path / "a\0.toml"))
    with pytest.raises(UsageError, match="is a folder, not a suite file"):
        load_suite(tmp_path)


def test_overrides() -> None:
    suite = load_suite("shapes")
    changed = suite.override(samples=2, seed=1, limit=3, prompts="my.txt", metrics=["lpips", "vendi"])
    assert (changed.samples, changed.seed, changed.limit, changed.prompts) == (2, 1, 3, "my.txt")
    assert changed.metrics["lpips"] == suite.metrics["lpips"]
    assert changed.metrics["vendi"].weights is None
    assert list(changed.metrics) == ["lpips", "vendi"]
    assert suite.override() == suite.override(samples=None) == suite
    assert suite.override(dtype="bfloat16").dtype == "bfloat16"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"limit": -1}, "limit must be at least 1, got -1"),
        ({"metrics": ["lpip"]}, "unknown metric 'lpip'. Did you mean 'lpips'?"),
        ({"metrics": []}, "metrics must not be empty"),
        ({"prompts": ""}, "prompts must not be empty"),
        ({"sample": 3}, "unknown override 'sample'. Did you mean 'samples'?"),
    ],
)
def test_mistakes_in_overrides(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_suite("shapes").override(**changes)
    assert str(caught.value).startswith(words)


def test_paths_beside_the_suite_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    (folder / "model").mkdir(parents=True)
    (folder / "p.txt").write_text("a red circle\n")
    text = MINIMAL.replace('"shapes"', '"p.txt"').replace('"shapes:pipeline"', '"model"')
    write(folder, text + 'weights = "owner/name"\n')
    monkeypatch.chdir(tmp_path)
    suite = load_suite("mine/x.toml")
    assert (suite.prompts, suite.model.weights) == ("mine/p.txt", "mine/model")
    assert suite.metrics["lpips"].weights == "owner/name"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = " + "[" * 100_000, "not usable as TOML: its values are nested too deeply"),
        ("samples = " + "9" * 5000, "not usable as TOML: it contains an integer of too many digits"),
        ("samples = 0x" + "f" * 5000, "samples is an integer beyond the 64 bits of TOML"),
        ('title = "\\ud83d"', "not valid TOML: "),
    ],
)
def test_what_toml_cannot_mean(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text + "\n" + MINIMAL)
    with pytest.raises(UsageError) as caught:
        load_suite(path)
    assert str(caught.value).startswith(f"{path}: {words}")


def test_the_column_of_the_prompts(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("recaption,n\nx,1\n")
    suite = load_suite(write(tmp_path, MINIMAL.replace('"shapes"', '"p.csv"\nprompt_column = "recaption"', 1)))
    assert (suite.prompts, suite.prompt_column) == (str(tmp_path / "p.csv"), "recaption")
    assert Suite.model_validate(suite.resolved()) == suite
    assert suite.override(prompts="other.csv").prompt_column is None
    assert suite.override(prompts="other.csv", prompt_column="y").prompt_column == "y"
    assert "prompt_column" not in suite.override(prompts="other.csv").resolved()
