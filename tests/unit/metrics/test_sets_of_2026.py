"""Conditional Vendi, near-duplicates, FD and Vendi on any encoder: against plain computations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import bench
import metrics
from metrics import MetricError
from metrics.group.vendi_score import vendi_score
from metrics.set.conditional_vendi import MOST_IMAGES, Prompted, conditional_vendi
from metrics.set.near_duplicates import nearest
from tests.unit.metrics.card_checks import check_card
from tests.unit.metrics.checkpoints import make_clip, picture

PROMPTS = ["a red circle", "a blue square", "small"]


def plain(images: np.ndarray, texts: np.ndarray) -> float:
    """exp(H(K o T) - H(T)) by loops and numpy's general eigenvalues."""
    n = len(images)
    joint, prompt = np.zeros((n, n)), np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            cosines = [
                float(np.dot(rows[i], rows[j]) / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j]))
                for rows in (images, texts)
            ]
            joint[i, j], prompt[i, j] = cosines[0] * cosines[1] / n, cosines[1] / n

    def entropy(matrix: np.ndarray) -> float:
        values = [value for value in np.linalg.eigvals(matrix).real if value > 1e-12]
        return -sum(value * math.log(value) for value in values)

    return math.exp(entropy(joint) - entropy(prompt))


def test_conditional_vendi_is_the_plain_one() -> None:
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(12, 5)), rng.normal(size=(4, 3))
    groups = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    found = conditional_vendi(torch.tensor(images), torch.tensor(texts), groups)
    assert found == pytest.approx(plain(images, texts[groups]), rel=1e-9)
    alone = conditional_vendi(torch.tensor(images), torch.ones(1, 3), [0] * 12)
    assert alone == pytest.approx(vendi_score(torch.tensor(images)), rel=1e-9)  # one prompt: the Vendi score


def test_prompts_that_have_nothing_in_common_give_the_geometric_mean() -> None:
    rows = torch.randn(12, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    scores = [vendi_score(rows[start : start + 3]) for start in range(0, 12, 3)]
    groups = [index // 3 for index in range(12)]
    assert conditional_vendi(rows, torch.eye(4), groups) == pytest.approx(math.prod(scores) ** 0.25, rel=1e-9)
    same = rows[[0, 0, 0, 3, 3, 3]]  # a model that always draws the same of a prompt, whatever prompts differ by
    assert conditional_vendi(same, torch.eye(2), [0, 0, 0, 1, 1, 1]) == pytest.approx(1.0, rel=1e-9)


def test_the_metric_reads_clip_and_refuses_what_it_cannot(weights: Any, tmp_path: Path) -> None:
    from transformers import CLIPModel

    from metrics.networks.clip_tokenizer import load_tokenizer

    clip = make_clip(tmp_path / "clip")
    metric = metrics.load("conditional_vendi", weights=weights["fd_dinov2"], text_weights=str(clip))
    check_card(metric)
    frames = [picture(seed) for seed in range(6)]
    prompts = [PROMPTS[seed // 2] for seed in range(6)]
    parts = metric.statistics(frames[:4], prompts[:4]) + metric.statistics(frames[4:], prompts[4:])
    model = CLIPModel.from_pretrained(clip).eval()
    tokens = load_tokenizer(clip, model.config.text_config.vocab_size, "x")(prompts, padding=True, return_tensors="pt")
    with torch.no_grad():
        texts = model.get_text_features(**tokens).pooler_output
    assert metric.distance(parts) == pytest.approx(plain(parts.rows.numpy(), texts.double().numpy()), rel=1e-4)
    assert math.isnan(metric.distance(metric.statistics(frames[:1], prompts[:1])))
    assert any("equal prompts and equally many images" in note for note in metric.notes(6))
    with pytest.raises(MetricError, match="at most 5,000 images"):
        metric.distance(Prompted(torch.zeros(MOST_IMAGES + 1, 2), ("p",) * (MOST_IMAGES + 1)))
    with pytest.raises(metrics.BadInputError, match="as many prompts"):
        metric.statistics(frames, prompts[:2])
    for options, told in (({"text": "t5"}, "not one of clip, same"), ({"text": "same", "text_weights": "x"}, "omit")):
        with pytest.raises(MetricError, match=told):
            metrics.load("conditional_vendi", weights=weights["fd_dinov2"], **options)


def test_a_run_is_scored_without_a_reference(weights: Any, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for number in range(9):
        (folder / f"p{number // 3}").mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / f"p{number // 3}" / f"{number % 3}.png")
    (tmp_path / "prompts.jsonl").write_text(
        "\n".join(f'{{"id": "p{n}", "text": "{text}"}}' for n, text in enumerate(PROMPTS))
    )
    (tmp_path / "suite.toml").write_text(
        f'samples = 3\nprompts = "given"\n[model]\nfamily = "none"\nweights = "none"\n'
        f'[metrics.conditional_vendi]\nweights = "{weights["fd_dinov2"]}"\noptions = {{ text = "same" }}\n'
    )
    bench.score(
        images=folder,
        suite=tmp_path / "suite.toml",
        prompts=str(tmp_path / "prompts.jsonl"),
        name="mine",
        results=tmp_path / "results",
        device="cpu",
    )
    rows = bench.load_results(tmp_path / "results")
    value = float(rows[rows["metric"] == "conditional_vendi"]["value"].iloc[0])
    metric = metrics.load("conditional_vendi", weights=weights["fd_dinov2"], text="same")
    frames = [Image.open(folder / f"p{n // 3}" / f"{n % 3}.png") for n in range(9)]
    wanted = metric.distance(metric.statistics(frames, [PROMPTS[n // 3] for n in range(9)]))
    assert value == pytest.approx(wanted, rel=1e-5)
    assert value > 1 + 1e-4
    with pytest.raises(bench.errors.UsageError, match="needs prompts"):
        bench.score(images=folder, metrics=["conditional_vendi"], reference=folder, results=tmp_path / "other")


def test_near_duplicates_are_found(weights: Any) -> None:
    rows = np.random.default_rng(1).normal(size=(7, 4))
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for i, value in enumerate(nearest(rows, rows[:3])):
        assert value == pytest.approx(max(float(units[i] @ units[j]) for j in range(3)))
    for i, value in enumerate(nearest(rows)):
        assert value == pytest.approx(max(float(units[i] @ units[j]) for j in range(7) if j != i))
    metric = metrics.load("near_duplicates", weights=weights["fd_dinov2"], threshold=0.99999)
    check_card(metric)
    trained = metric.statistics([picture(seed) for seed in range(8)])
    made = metric.statistics([picture(3), picture(5), picture(20), picture(21)])
    assert metric.distance(made, trained) == 0.5
    notes = " ".join(metric.notes(4, reference=trained))
    assert "not calibrated" in notes
    assert "0.0% of the reference images lie as near to another" in notes
    for wrong in (1.5, True, "high"):
        with pytest.raises(MetricError, match="is not a cosine"):
            metrics.load("near_duplicates", weights=weights["fd_dinov2"], threshold=wrong)


def test_fd_and_vendi_take_any_encoder(weights: Any) -> None:
    frames, others = [picture(seed) for seed in range(4)], [picture(seed) for seed in range(9, 13)]
    fd = metrics.load("fd", weights=weights["fd_dinov2"], encoder="dinov2")
    old = metrics.load("fd_dinov2", weights=weights["fd_dinov2"])
    wanted = old.distance(old.statistics(frames), old.statistics(others))
    assert fd.distance(fd.statistics(frames), fd.statistics(others)) == pytest.approx(wanted, rel=1e-6)
    vendi = metrics.load("vendi", weights=weights["fd_dinov2"], backbone="dinov2")
    assert vendi.card.title.startswith("Vendi score (DINOv2)")
    assert vendi.score(frames) == pytest.approx(vendi_score(vendi.embed(frames)), rel=1e-9)
    assert vendi.card.facts.weights == "facebook/dinov2-large"
    with pytest.raises(MetricError, match="siglip2"):
        metrics.load("vendi", weights=weights["fd_dinov2"], backbone="dinov9")


def test_clusters_are_connected_components_of_dreamsims_graph(weights: Any) -> None:
    from metrics.group.dreamsim_clusters import groups

    generator = torch.Generator().manual_seed(4)
    for _ in range(20):
        table = torch.rand(6, 6, generator=generator)
        table = (table + table.T) / 2
        left, found = set(range(6)), 0
        while left:  # by hand: take all that can be reached
            reached, queue = set(), [left.pop()]
            while queue:
                one = queue.pop()
                reached.add(one)
                queue += [other for other in left if table[one, other] < 0.3]
                left -= set(queue)
            found += 1
        assert groups(table, 0.3) == found
    metric = metrics.load("dreamsim_clusters", weights=weights["dreamsim"], threshold=1e-6)
    check_card(metric)
    whole = metrics.load("dreamsim", weights=weights["dreamsim"])
    assert metric.backbone == whole.backbone  # embeddings are shared
    assert metric.score([picture(0), picture(0), picture(1)]) == 2.0
    assert metrics.load("dreamsim_clusters", weights=weights["dreamsim"], threshold=2).score([picture(0)] * 3) == 1.0
    assert math.isnan(metric.score([picture(0)]))
    assert "not calibrated" in " ".join(metric.notes(3))
    with pytest.raises(MetricError, match="is not a distance"):
        metrics.load("dreamsim_clusters", weights=weights["dreamsim"], threshold=0)
