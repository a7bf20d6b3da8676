"""Classes of torchmetrics as metrics: each kind against torchmetrics called by hand."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import metrics
from bench.errors import UsageError
from bench.suite.load import load_suite
from metrics import torchmetrics_forms
from metrics.definitions import define
from metrics.torchmetrics_adapter import States
from metrics.torchmetrics_forms import FORMS
from tests.unit.metrics.card_checks import check_card
from tests.unit.metrics.checkpoints import picture

SUITE = """
prompts = "shapes"
[model]
weights = "shapes:pipeline"
[metrics.smooth]
torchmetrics = "{path}"
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test defines is forgotten behind it."""
    from metrics import catalogue

    yield
    for name in torchmetrics_forms.DEFINED:
        catalogue._FACTS.pop(name, None)
        catalogue._TARGETS.pop(name, None)
    torchmetrics_forms.DEFINED.clear()


def unit(seed: int, side: int = 64) -> Tensor:
    return torch.from_numpy(np.array(picture(seed, side, side))).permute(2, 0, 1)[None].float() / 255


def test_it_computes_at_the_precision_of_its_card(monkeypatch: pytest.MonkeyPatch) -> None:
    define("smooth", "image.TotalVariation", {})
    metric = metrics.load("smooth")
    seen, plain = [], metric.measure.update

    def watching(*given: Any) -> None:
        seen.append(torch.backends.cudnn.allow_tf32)
        plain(*given)

    monkeypatch.setattr(metric.measure, "update", watching)
    metric.score([picture(1)], ["a"])
    assert seen == [False]


def test_total_variation_has_a_value_an_image() -> None:
    from torchmetrics.functional.image import total_variation

    define("smooth", "image.TotalVariation", {})
    metric = metrics.load("smooth")
    wanted = [float(total_variation(unit(seed))) for seed in range(3)]
    assert metric.score([picture(seed) for seed in range(3)], ["a"] * 3).tolist() == pytest.approx(wanted, rel=1e-6)
    assert (metric.kind.value, metric.card.to_dict()["direction"], metric.card.to_dict()["low"]) == (
        "image",
        "lower",
        0,
    )
    assert "torchmetrics 1" in metric.card.to_dict()["version"]
    check_card(metric)


@pytest.mark.parametrize(
    ("path", "direction"),
    [
        ("image.StructuralSimilarityIndexMeasure", "lower"),
        ("image.PeakSignalNoiseRatio", "lower"),
        ("image.UniversalImageQualityIndex", "lower"),
        ("image.RootMeanSquaredErrorUsingSlidingWindow", "higher"),
        ("image.SpectralAngleMapper", "higher"),
        ("image.VisualInformationFidelity", "lower"),
    ],
)
def test_measures_of_two_images_are_means_over_pairs(path: str, direction: str) -> None:
    import torchmetrics.image

    define("pairs", path, {})
    metric = metrics.load("pairs")
    ranged = {"data_range": 1.0} if dict(FORMS[path].fixed) else {}
    by_hand = getattr(torchmetrics.image, path.partition(".")[2])(**ranged)
    values = []
    for i, j in itertools.combinations(range(3), 2):
        pair = [float(by_hand(unit(i), unit(j)))]
        if FORMS[path].both:
            by_hand.reset()
            pair.append(float(by_hand(unit(j), unit(i))))
        values.append(np.mean(pair))
        by_hand.reset()
    assert metric.score([picture(seed) for seed in range(3)]) == pytest.approx(np.mean(values), rel=1e-5)
    assert metric.card.to_dict()["direction"] == direction  # of a similarity, lower is more diverse
    assert np.isnan(metric.score([picture(0)]))
    with pytest.raises(metrics.BadInputError, match="differ in size"):
        metric.score([picture(0), picture(1, 32, 32)])


class SmallFeatures(torch.nn.Module):
    """In the place of Inception: torchmetrics takes any module that gives features."""

    num_features = 12

    def forward(self, images: Tensor) -> Tensor:
        assert 0 <= float(images.amin()) <= float(images.amax()) <= 1  # a module of one's own gets what is handed over
        pooled = torch.nn.functional.adaptive_avg_pool2d(images, 2)
        return pooled.flatten(1)


@pytest.mark.parametrize("path", ["image.FrechetInceptionDistance", "image.KernelInceptionDistance"])
def test_sets_are_real_and_fake_in_their_places(path: str, tmp_path: Path) -> None:
    import torchmetrics.image

    more: dict[str, Any] = {"subset_size": 6, "subsets": 4} if "Kernel" in path else {"input_img_size": (3, 64, 64)}
    define("sets", path, {"feature": SmallFeatures(), **more})
    metric = metrics.load("sets")
    real, fake = [picture(seed) for seed in range(12)], [picture(seed) for seed in range(20, 29)]
    a = metric.statistics(fake[:4]) + metric.statistics(fake[4:])
    b = metric.statistics(real)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_hand = getattr(torchmetrics.image, path.partition(".")[2])(feature=SmallFeatures(), normalize=True, **more)
    for seed in range(12):
        by_hand.update(unit(seed), real=True)
    for seed in range(20, 29):
        by_hand.update(unit(seed), real=False)
    torch.manual_seed(0)
    wanted = by_hand.compute()
    wanted = float(wanted[0] if isinstance(wanted, tuple) else wanted)
    assert metric.distance(a, b) == pytest.approx(wanted, rel=1e-5)
    assert metric.distance(b, a) == pytest.approx(metric.distance(b, a), rel=0)  # no luck of a generator
    assert (a.n, b.n) == (9, 12)
    b.save(tmp_path / "b.npz")
    assert metric.distance(a, States.read(tmp_path / "b.npz")) == metric.distance(a, b)
    whole = bytearray((tmp_path / "b.npz").read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "b.npz").write_bytes(bytes(whole))
    with pytest.raises(metrics.BadInputError):
        States.read(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("image.InceptionScore", {}, "one value of a set without a reference"),
        ("image.TotalVariaton", {}, "not one of those known here"),
        ("image.TotalVariation", {"reduction": "none"}, "reduction is set here: omit the option"),
        ("image.PeakSignalNoiseRatio", {"data_range": 255.0}, "belongs to the pixels handed over"),
    ],
)
def test_what_cannot_be_a_metric_is_refused(path: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(metrics.MetricError, match=words):
        define("mine", path, options)


def test_an_argument_that_the_class_does_not_take_is_refused() -> None:
    define("mine", "image.TotalVariation", {"sigma": 3})
    with pytest.raises(metrics.MetricError, match="refuses its options"):
        metrics.load("mine", sigma=3)


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(metrics.MetricError, match="'lpips' is already in use"):
        define("lpips", "image.TotalVariation", {})
    suite = tmp_path / "taken.toml"
    suite.write_text(SUITE.format(path="image.TotalVariation").replace("smooth", "fid"))
    with pytest.raises(UsageError, match="'fid' is already in use"):
        load_suite(suite)


def test_a_suite_defines_its_metric(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SUITE.format(path="image.TotalVariation"))
    suite = load_suite(path)
    assert metrics.info("smooth").kind.value == "image"
    assert suite.resolved()["metrics"] == {
        "smooth": {"weights": None, "options": {}, "torchmetrics": "image.TotalVariation"}
    }
    assert "torchmetrics" not in str(load_suite("shapes").resolved()["metrics"])  # manifests are as they were
    path.write_text(SUITE.format(path="image.UniversalImageQualityIndex"))
    load_suite(path)
    assert metrics.info("smooth").kind.value == "group"  # the definition of the newest suite
    path.write_text(SUITE.format(path="image.Nothing"))
    with pytest.raises(UsageError, match=r"mine\.toml: metrics: torchmetrics class 'image.Nothing' is not one"):
        load_suite(path)
    path.write_text(SUITE.format(path="image.TotalVariation") + 'weights = "somewhere"\n')
    with pytest.raises(UsageError, match="takes no weights"):
        load_suite(path)


def test_every_form_is_a_class_of_torchmetrics() -> None:
    import torchmetrics.image
    import torchmetrics.multimodal

    known = {f"image.{name}" for name in torchmetrics.image.__all__}
    known |= {f"multimodal.{name}" for name in torchmetrics.multimodal.__all__}
    assert set(FORMS) <= known
    for path in known - set(FORMS):
        with pytest.raises(metrics.MetricError, match="cannot be a metric here, because"):
            torchmetrics_forms.form_of(path)
