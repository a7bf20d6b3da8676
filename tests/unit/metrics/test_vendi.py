import math
from pathlib import Path
from typing import Any

import pytest
import torch

import metrics
from metrics import MetricError
from metrics.group.vendi_score import effective_number, kernel_matrix, vendi_score
from tests.tolerance import assert_close
from tests.unit.metrics.checkpoints import picture

INF = math.inf


def rows(count: int = 9, width: int = 4) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def spectrum(count: int = 9, width: int = 4) -> torch.Tensor:
    unit = torch.nn.functional.normalize(rows(count, width), dim=-1)
    return torch.linalg.svdvals(unit).square() / count


def test_order_one_is_the_exponential_of_the_entropy() -> None:
    assert vendi_score(torch.eye(4)) == pytest.approx(4.0, rel=1e-9)
    assert vendi_score(torch.ones(4, 3)) == pytest.approx(1.0, rel=1e-9)
    values = spectrum()
    assert vendi_score(rows()) == pytest.approx(math.exp(-float((values * values.log()).sum())), rel=1e-12)
    assert vendi_score(rows(3, 7)) == pytest.approx(  # fewer rows than features: the other Gram matrix
        math.exp(-float((spectrum(3, 7) * spectrum(3, 7).log()).sum())), rel=1e-12
    )
    assert math.isnan(vendi_score(torch.zeros(0, 3)))


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9, 1.4, 1.6, 2.0, 5.0])
def test_any_order_is_the_hill_number(q: float) -> None:
    wanted = float((spectrum() ** q).sum() ** (1 / (1 - q)))
    assert vendi_score(rows(), q) == pytest.approx(wanted, rel=1e-12)


def test_the_limits_are_reached_smoothly() -> None:
    at_one = vendi_score(rows(), 1.0)
    for step in (1e-3, 1e-6, 1e-9, 1e-12):
        for q in (1 - step, 1 + step):
            assert vendi_score(rows(), q) == pytest.approx(at_one, rel=2 * step + 1e-13)
    largest = float(1 / spectrum().max())
    assert vendi_score(rows(), INF) == pytest.approx(largest, rel=1e-12)
    assert vendi_score(rows(), 1e4) == pytest.approx(largest, rel=1e-3)  # no underflow
    assert vendi_score(rows(), 1e-9) == pytest.approx(4.0, rel=1e-6)  # the rank
    ladder = [vendi_score(rows(), q) for q in (0.1, 0.5, 1.0, 2.0, 10.0, INF)]
    assert ladder == sorted(ladder, reverse=True)  # Hill numbers fall with the order
    assert all(1.0 <= value <= 9.0 for value in ladder)


def test_equal_parts_count_alike_in_every_order() -> None:
    for q in (0.01, 0.7, 1.0, 3.0, INF):
        twice = torch.eye(3).repeat(2, 1)
        assert vendi_score(twice, q) == pytest.approx(3.0, rel=1e-9)  # rounding is not an image: not even at q = 0.01
        assert vendi_score(torch.ones(5, 2), q) == pytest.approx(1.0, rel=1e-9)


def test_rbf_kernel() -> None:
    unit = torch.nn.functional.normalize(rows(5), dim=-1)
    wanted = torch.tensor([[math.exp(-float((a - b).square().sum()) / (2 * 0.3**2)) for b in unit] for a in unit])
    found = kernel_matrix(rows(5), "rbf", 0.3)
    assert_close(found, wanted, 1e-6)  # math.exp made float32 of it
    assert torch.equal(found.diagonal(), torch.ones(5, dtype=torch.float64))
    values = torch.linalg.eigvalsh(found / 5)
    assert vendi_score(rows(5), 2.0, "rbf", 0.3) == pytest.approx(float(1 / values.square().sum()), rel=1e-12)
    assert vendi_score(rows(5), kernel="rbf", bandwidth=1e-3) == pytest.approx(5.0, rel=1e-9)  # all different
    assert vendi_score(rows(5), kernel="rbf", bandwidth=1e4) == pytest.approx(1.0, rel=1e-5)  # all alike


def test_batches_of_spectra() -> None:
    both = torch.stack([torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.2, 0.3, 0.5])])
    for q in (0.5, 1.0, 2.0, INF):
        found = effective_number(both, q)
        assert found.tolist() == pytest.approx([effective_number(one, q).item() for one in both], rel=1e-12)
    assert effective_number(both, 2.0)[0].item() == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"q": 0}, "q = 0 is not an order"),
        ({"q": -1.5}, "q = -1.5 is not an order"),
        ({"q": math.nan}, "q = nan is not an order"),
        ({"q": True}, "q = True is not an order"),
        ({"q": "many"}, "q = 'many' is not an order: give a number above 0, or inf"),
        ({"kernel": "linear"}, "kernel 'linear' is not one of cosine, rbf"),
        ({"kernel": "rbf"}, "rbf kernel needs a bandwidth above 0, not None"),
        ({"kernel": "rbf", "bandwidth": 0.0}, "needs a bandwidth above 0, not 0.0"),
        ({"bandwidth": 0.5}, "cosine kernel has no bandwidth"),
        ({"backbone": "resnet"}, "backbone 'resnet' is not one of dino, clip, vit-l-14"),
        ({"k": 1}, "k = 1 is not a number of images: give an integer of at least 2"),
        ({"k": 2.0}, "k = 2.0 is not a number of images"),
    ],
)
def test_wrong_options_are_one_sentence(options: dict[str, Any], said: str, weights: dict[str, Path]) -> None:
    with pytest.raises(MetricError, match=said) as caught:
        metrics.load("vendi", weights=weights["vendi"], **options)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_options_reach_the_score_and_the_card(weights: dict[str, Path], loaded: Any, pictures: Any) -> None:
    embeddings = loaded["dino"].embed(pictures)
    seen = {loaded["vendi"].card.digest}
    for options in ({"q": 2.0}, {"q": "inf"}, {"q": INF}, {"kernel": "rbf", "bandwidth": 0.5}):
        metric = metrics.load("vendi", weights=weights["vendi"], **options)
        given = {**options, "q": float(options.get("q", 1.0))}
        assert metric.score(pictures) == pytest.approx(vendi_score(embeddings, **given), rel=1e-9)
        assert metric.card.to_dict()["settings"]["q"] == ("inf" if given["q"] == INF else given["q"])
        assert metric.backbone == loaded["dino"].backbone  # one pass for all of them
        seen.add(metric.card.digest)
    assert len(seen) == 4  # "inf" and inf are the same metric
    assert loaded["vendi"].card.title == "Vendi score (DINO) (own weights)"
    assert metric.card.title == "Vendi score (DINO), rbf 0.5 (own weights)"


def test_clip_backbone(weights: dict[str, Path], loaded: Any, pictures: Any) -> None:
    metric = metrics.load("vendi", weights=weights["pickscore"], backbone="clip")
    assert metric.score(pictures) == pytest.approx(vendi_score(loaded["clip_diversity"].embed(pictures)), rel=1e-9)
    assert metric.encoder is loaded["clip_diversity"].encoder
    assert metric.backbone == loaded["clip_diversity"].backbone
    assert metric.card.title == "Vendi score (CLIP) (own weights)"
    with pytest.raises(metrics.MissingWeightsError, match="openai/clip-vit-base-patch32"):
        metrics.load("vendi", weights=weights["pickscore"], backbone="vit-b-32")


def test_the_option_k_makes_runs_of_different_size_comparable(weights: dict[str, Path], pictures: Any) -> None:
    metric = metrics.load("vendi", weights=weights["vendi"], k=3)
    plain = metrics.load("vendi", weights=weights["vendi"])
    subsets = [[pictures[i] for i in range(5) if i not in (a, b)] for a in range(5) for b in range(a)]
    wanted = sum(plain.score(subset) for subset in subsets) / 10
    assert metric.score(pictures) == pytest.approx(wanted, rel=1e-6)
    assert metric.score(pictures[:3]) == pytest.approx(plain.score(pictures[:3]), rel=1e-6)
    assert math.isnan(metric.score(pictures[:2]))
    assert metric.undefined_reason == "needs at least 3 images"
    assert [metric.why_undefined(count) for count in (2, 3)] == ["needs at least 3 images", None]
    assert metric.notes() == []
    assert plain.notes() != []
    assert metric.card.facts.high == 3.0
    assert metric.card.digest != plain.card.digest
    assert "k = 3" in metric.card.title


def test_identical_and_single_images(loaded: Any) -> None:
    assert loaded["vendi"].score([picture(1)] * 3) == pytest.approx(1.0, rel=1e-6)
    assert math.isnan(loaded["vendi"].score([picture(1)]))
    assert 1.0 < loaded["vendi"].score([picture(seed) for seed in range(5)]) <= 5.0
    assert any("depends on the number" in note for note in loaded["vendi"].notes())
