"""`bench plan`: what a run would make and cost, and what earlier runs say it could tell."""

from __future__ import annotations

import json
import math
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench.analysis.means import mean_stats, two_sided
from bench.analysis.pilot import Spread, spreads
from bench.errors import UsageError
from bench.models.load import load_model
from bench.pipeline.plan import _unguided
from bench.pipeline.plan_text import plan_text
from bench.sampling.loop import unguided_per_step
from bench.store.select import open_runs
from bench.suite.load import load_suite
from bench.suite.schema import Suite
from tests.unit.bench.models.families import family_pipeline

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make = fakes["make"]


def test_images_and_evaluations_alone_and_shared(tmp_path: Path) -> None:
    found = bench.plan("shapes", ["base", "combined"], limit=4, samples=2, results=tmp_path)
    assert (found.images, found.missing, found.prompts) == (16, 16, 4)
    assert found.evaluations_shared < found.evaluations_alone
    assert math.isnan(found.seconds)
    assert "unknown: there are no earlier runs" in plan_text(found)
    assert json.loads(json.dumps(found.rows, allow_nan=False))["seconds"] is None
    assert not (tmp_path / "runs").exists()  # nothing is made


def test_weights_of_the_hub_are_listed_with_their_size(tmp_path: Path) -> None:
    found = bench.plan("sd15-hpdv2", ["base"], limit=2, prompts="shapes", results=tmp_path)
    sizes = {one.what: one.megabytes for one in found.fetch}
    assert sizes["base model"] is None
    assert "size unknown" in plan_text(found)
    assert any(size for what, size in sizes.items() if what.startswith("metric"))


def test_a_pilot_says_what_can_be_told(tmp_path: Path) -> None:
    for method in ("base", "refl"):
        make(tmp_path, method, prompts=32, metrics=("pickscore", "lpips"))
    few = bench.plan("shapes", ["base", "refl"], limit=8, detect={"lpips": 0.01}, results=tmp_path)
    many = bench.plan("shapes", ["base", "refl"], results=tmp_path)
    for one, other in zip(few.detectable, many.detectable, strict=True):
        assert one.detects > other.detects > 0
    (lpips,) = [one for one in few.detectable if one.metric == "lpips"]
    assert lpips.prompts > 32
    with pytest.raises(UsageError, match="--detect kid: there are no two earlier runs with kid"):
        bench.plan("shapes", ["base"], detect={"kid": 1.0}, results=tmp_path)


def test_prompts_and_samples_that_tell_a_target() -> None:
    one = Spread("x", "image", "b - a", 1.0, 4.0, 0.0, 2.0, 32, 4)
    prompts = one.prompts_for(0.5, 4)
    assert one.detects(int(prompts), 4) <= 0.5 < one.detects(int(prompts) - 1, 4)
    assert one.samples_for(0.5, 20) == math.inf  # no number of images makes up for 20 prompts
    assert one.detects(100, int(one.samples_for(0.4, 100))) <= 0.4
    assert math.isnan(Spread("x", "group", "b - a", 1.0, math.nan, 0.0, math.nan, 32, 1).samples_for(0.5, 20))


@pytest.mark.parametrize(("shape", "wanted"), [("normal", 0.85), ("skewed", 0.75)])
def test_as_many_prompts_do_decide(shape: str, wanted: float) -> None:
    """A pilot of 64 prompts; the true difference is the one asked for."""
    rng = np.random.default_rng(11)
    decided = []
    for _ in range(300):
        draw = (lambda n: rng.normal(size=n)) if shape == "normal" else (lambda n: rng.gamma(1.0, size=n) - 1.0)
        pilot = draw(64)
        centred = pilot - pilot.mean()
        skew = float((centred**3).mean() / (centred**2).mean() ** 1.5)
        spread = Spread("x", "group", "b - a", float(pilot.var(ddof=1)), math.nan, skew, math.nan, 64, 1)
        prompts = int(spread.prompts_for(0.3, 1))
        decided.append(float(two_sided(mean_stats(0.3 + draw(prompts)))) < 0.05)
    assert np.mean(decided) >= wanted


def test_spread_of_fakes(tmp_path: Path) -> None:
    for method in ("base", "refl"):
        make(tmp_path, method, prompts=32, metrics=("pickscore",))
    (one,) = spreads(open_runs(tmp_path)[0])
    assert one.within == pytest.approx(2 * (0.5 * 1.2) ** 2, rel=0.3)
    assert one.between < one.within
    assert one.noise == pytest.approx((0.5 * 1.2) ** 2, rel=0.3)


def test_a_plan_counts_every_evaluation_of_a_step(tmp_path: Path) -> None:
    suite = load_suite("shapes")
    heun = suite.model_copy(update={"sampler": suite.sampler.model_copy(update={"scheduler": "HeunDiscreteScheduler"})})
    found = bench.plan(heun, ["base", "refl"], limit=1, samples=1, results=tmp_path)
    assert (found.evaluations_alone, found.evaluations_shared) == ((2 + 1) * (2 * 40 - 1),) * 2


def test_steps_without_guidance_are_planned_once(tmp_path: Path, said: list[str]) -> None:
    """Of Z-Image with a truncation: as many as the model itself leaves without guidance."""
    folder = family_pipeline("z_image", tmp_path / "pipeline")
    given: dict[str, Any] = {
        "name": "tiny",
        "model": {"family": "z_image", "weights": str(folder), "cfg_truncation": 0.3},
        "prompts": "shapes",
        "resolution": 32,
        "guidance": 4.0,
        "sampler": {"scheduler": "FlowMatchEulerDiscreteScheduler", "steps": 5},
        "metrics": {"pickscore": {"weights": "shapes:pickscore"}},
    }
    suite = Suite.model_validate(given)
    model = load_model(folder, suite)
    bare = sum(unguided_per_step(model, model.new_scheduler()))
    assert 0 < bare < 5
    found = bench.plan(suite, ["base"], limit=2, samples=3, results=tmp_path)
    assert found.evaluations_alone == found.evaluations_shared == 2 * 3 * (2 * 5 - bare)
    assert said == []
    assert _unguided(suite, [5], {str(folder)}) == {}
    assert said == [
        "model.cfg_truncation: which steps have no guidance is not known without the model: all are planned with it"
    ]
    given["model"]["cfg_truncation"] = 1.0
    assert _unguided(Suite.model_validate(given), [5], ()) == {}
