"""GenEval's rules on hand-made detections, the detector in its published layout, and the rate of unsafe images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import metrics
from metrics.errors import BadInputError, MetricError, MissingWeightsError
from metrics.image.geneval_hf import GREY, cut_out
from metrics.image.geneval_rules import Found, Rule, Wanted, is_correct, kept, read_rules, relations
from tests.tolerance import assert_close, assert_parity
from tests.unit.metrics.card_checks import check_card
from tests.unit.metrics.checkpoints import make_clip, picture

COCO = ("person", "bicycle", "car", "motorbike", "sofa", "keyboard", "dog", "cup")
LINES = [
    {"tag": "single_object", "include": [{"class": "dog", "count": 1}], "prompt": "a photo of a dog"},
    {
        "tag": "counting",
        "include": [{"class": "cup", "count": 2}],
        "exclude": [{"class": "cup", "count": 3}],
        "prompt": "a photo of two cups",
    },
    {"tag": "colors", "include": [{"class": "dog", "count": 1, "color": "red"}], "prompt": "a photo of a red dog"},
    {
        "tag": "position",
        "include": [{"class": "cup", "count": 1}, {"class": "dog", "count": 1, "position": ["left of", 0]}],
        "prompt": "a photo of a dog left of a cup",
    },
    {"tag": "single_object", "include": [{"class": "computer keyboard", "count": 1}], "prompt": "a keyboard"},
]


def at(x: float, y: float = 50, score: float = 0.95, size: float = 10) -> Found:
    return Found((x - size / 2, y - size / 2, x + size / 2, y + size / 2), score)


def red(found: Sequence[Found], name: str) -> list[str]:
    return ["red" if one.box[0] > 50 else "blue" for one in found]


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "evaluation_metadata.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("prompt", "objects", "right"),
    [
        ("a photo of a dog", {"dog": [at(10)]}, True),
        ("a photo of a dog", {"cup": [at(10)]}, False),
        ("a photo of a dog", {"dog": [at(10), at(20)], "cup": [at(30)]}, True),  # others do no harm
        ("a photo of two cups", {"cup": [at(10), at(20)]}, True),
        ("a photo of two cups", {"cup": [at(10), at(20), at(30)]}, False),  # three are excluded
        ("a photo of two cups", {"cup": [at(10)]}, False),
        ("a photo of a red dog", {"dog": [at(80)]}, True),
        ("a photo of a red dog", {"dog": [at(10)]}, False),
        ("a photo of a red dog", {"dog": [at(10, score=0.9), at(80, score=0.5)]}, False),  # the surest one is asked
        ("a photo of a dog left of a cup", {"dog": [at(10)], "cup": [at(80)]}, True),
        ("a photo of a dog left of a cup", {"dog": [at(80)], "cup": [at(10)]}, False),
        ("a photo of a dog left of a cup", {"dog": [at(80)]}, False),  # nothing to be left of
        ("a photo of a dog left of a cup", {"dog": [at(49)], "cup": [at(50)]}, False),  # too near to tell
    ],
)
def test_rules_on_hand_made_detections(questions: Path, prompt: str, objects: Any, right: bool) -> None:
    rule = read_rules(questions)[prompt]
    seen = {name: kept(found, rule.threshold) for name, found in objects.items()}
    assert is_correct(rule, seen, red) is right


def test_counting_asks_for_surer_objects_and_at_most_sixteen_count(questions: Path) -> None:
    rules = read_rules(questions)
    unsure = [at(10, score=0.85), at(20, score=0.85)]
    assert not kept(unsure, rules["a photo of two cups"].threshold)
    assert len(kept(unsure, rules["a photo of a dog"].threshold)) == 2
    assert [one.score for one in kept([at(1, score=0.4), at(2, score=0.3), at(3, score=0.8)], 0.3)] == [0.8, 0.4]
    assert len(kept([at(n) for n in range(30)], 0.3)) == 16
    # a second clause of one class asks the same objects again
    rule = Rule("two_object", (Wanted("dog", 1), Wanted("dog", 2)), ())
    assert is_correct(rule, {"dog": [at(1), at(2)]}, red)


def plain_relations(a: np.ndarray, b: np.ndarray) -> set[str]:
    """The rule in arrays: (offset - 0.1 of both sizes, towards 0) over the length of the offset, from one half on."""
    centre = (a.reshape(2, 2).mean(axis=0), b.reshape(2, 2).mean(axis=0))
    size = np.abs(a[2:] - a[:2]) + np.abs(b[2:] - b[:2])
    offset = centre[0] - centre[1]
    left = np.sign(offset) * np.clip(np.abs(offset) - 0.1 * size, 0, None)
    if (np.abs(left) < 1e-3).all():
        return set()
    x, y = left / np.sqrt((offset**2).sum())
    names = {"left of": x < -0.5, "right of": x > 0.5, "above": y < -0.5, "below": y > 0.5}
    return {name for name, holds in names.items() if holds}


def test_positions_are_the_plain_ones() -> None:
    rng = np.random.default_rng(0)
    seen: dict[frozenset[str], int] = {}
    for _ in range(500):
        boxes = np.sort(rng.uniform(0, 100, (2, 2, 2)), axis=1).reshape(2, 4)
        found = relations(tuple(boxes[0]), tuple(boxes[1]))
        assert found == plain_relations(*boxes)
        seen[frozenset(found)] = seen.get(frozenset(found), 0) + 1
    assert len(seen) >= 8  # all directions, diagonals and none
    assert relations((0, 0, 10, 10), (0, 0, 10, 10)) == set()
    assert relations((0, 0, 10, 10), (40, 40, 50, 50)) == {"left of", "above"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"include": []}, "asks for nothing"),
        ({"include": [{"class": "dog", "count": 0}]}, "a count of 0"),
        ({"include": [{"class": "dog", "count": 1, "color": "teal"}]}, "the colour 'teal'"),
        ({"include": [{"class": "dog", "count": 1, "position": ["left of", 0]}]}, "of clause 0"),
        ({"include": None}, "line 1"),
    ],
)
def test_bad_rules_are_named(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    (tmp_path / "bad.jsonl").write_text(json.dumps(LINES[0] | change))
    with pytest.raises(MetricError, match=told):
        read_rules(tmp_path / "bad.jsonl")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Mask2Former in the layout of the published folder, which is sure of what it sees."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    swin = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=swin,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=12,
        id2label=dict(enumerate(COCO)),
    )
    torch.manual_seed(0)
    model = Mask2FormerForUniversalSegmentation(config).eval()
    model.class_predictor.weight.data *= 8
    folder = tmp_path_factory.mktemp("mask2former") / "model"
    model.save_pretrained(folder)
    processor = {
        "image_processor_type": "Mask2FormerImageProcessor",
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "ignore_index": 255,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "num_labels": 80,
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": 64, "width": 64},
        "size_divisor": 32,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_the_detector_is_transformers_own(detector: Path) -> None:
    from transformers import Mask2FormerForUniversalSegmentation

    from metrics.networks.mask2former import load_mask2former

    ours = load_mask2former(detector, "x", torch.device("cpu"))
    assert ours.labels[3:5] == ("motorcycle", "couch")
    image = picture(1, 48, 80)
    mean, deviation = (torch.tensor(rows).view(3, 1, 1) for rows in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    pixels = torch.tensor(np.array(image.resize((64, 64), Image.Resampling.BILINEAR))).permute(2, 0, 1) / 255
    with torch.no_grad():
        raw = Mask2FormerForUniversalSegmentation.from_pretrained(detector).eval()(((pixels - mean) / deviation)[None])
    chances = raw.class_queries_logits[0].softmax(-1)[:, :-1]
    wanted = []
    for chance, place in zip(*chances.flatten().topk(12), strict=True):
        mask = raw.masks_queries_logits[0, int(place) // len(COCO)][None, None]
        for size in ((64, 64), (80, 48)):
            mask = torch.nn.functional.interpolate(mask, size=size, mode="bilinear", align_corners=False)
        inside = mask[0, 0] > 0
        if inside.any():
            score = float(chance) * float(mask[0, 0].sigmoid()[inside].mean())
            wanted.append((ours.labels[int(place) % len(COCO)], score, inside))
    wanted = [one for one in wanted if one[1] > 0.05]
    found = ours.instances(image, 0.05)
    assert len(found) == len(wanted) > 0
    for (name, score, mask), (other, value, inside) in zip(found, wanted, strict=True):
        assert name == other
        assert score == pytest.approx(value, rel=1e-4)
        assert (mask == inside).float().mean() > 0.999


@pytest.fixture(scope="module")
def scorer(detector: Path, questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    clip = make_clip(tmp_path_factory.mktemp("clip") / "clip")
    return metrics.load("geneval_hf", weights=detector, questions=str(questions), colours=str(clip))


def test_the_metric_gives_ones_and_zeros_by_its_rules(scorer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check_card(scorer)
    assert {"left of"} == {rule.include[1].position[0] for rule in scorer.rules.values() if len(rule.include) > 1}
    frames, prompts = (
        [picture(seed, 64, 64) for seed in range(3)],
        ["a photo of a dog", "a keyboard", "a photo of two cups"],
    )
    assert set(scorer.score(frames, prompts).tolist()) <= {0.0, 1.0}
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[10:20, 30:50] = True
    seen = [("keyboard", 0.8, mask), ("cup", 0.95, mask), ("cup", 0.85, mask), ("dog", 0.31, mask)]
    monkeypatch.setattr(scorer.detector, "instances", lambda image, least: seen)
    assert scorer.score(frames, prompts).tolist() == [1.0, 1.0, 0.0]  # of two cups only one is sure enough
    assert scorer.objects(frames[0])["computer keyboard"][0].box == (30.0, 10.0, 50.0, 20.0)
    with pytest.raises(BadInputError, match="none of GenEval's"):
        scorer.score(frames[:1], ["something else"])
    assert any("not the original's GenEval" in note for note in scorer.notes())


def test_the_colour_is_clips_nearest_before_grey(scorer: Any, tmp_path: Path) -> None:
    from transformers import CLIPModel

    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))
    mask = np.zeros((40, 60), dtype=bool)
    mask[5:15, 10:30] = True
    one = Found((10.0, 5.0, 30.0, 16.0), 0.9, mask)
    crop = np.asarray(cut_out(image, one))
    assert crop.shape == (11, 20, 3)
    assert (crop[:10] == np.asarray(image)[5:15, 10:30]).all()
    assert (crop[10] == GREY).all()
    clip = make_clip(tmp_path / "clip")
    model, encoder = CLIPModel.from_pretrained(clip).eval(), scorer.colours.images
    from metrics.image.geneval_rules import COLOURS

    rows = []
    for colour in COLOURS:
        forms = [f"a photo of a {colour} dog", f"a photo of a {colour}-colored dog", f"a photo of a {colour} object"]
        tokens = scorer.colours.texts.tokenizer(
            forms, padding=True, truncation=True, max_length=20, return_tensors="pt"
        )
        with torch.no_grad():
            features = model.get_text_features(**tokens).pooler_output
        mean = (features / features.norm(dim=-1, keepdim=True)).mean(dim=0)
        rows.append(mean / mean.norm())
    assert_close(scorer.colours._classifier("dog"), torch.stack(rows))
    with torch.no_grad():
        seen = model.get_image_features(pixel_values=encoder.prepare(cut_out(image, one))[None]).pooler_output[0]
    best = COLOURS[int((torch.stack(rows) @ seen).argmax())]
    assert scorer.colours.of(image, [one], "dog") == [best]


def test_what_is_missing_is_said(detector: Path, questions: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="evaluation_metadata.jsonl"):
        metrics.load("geneval_hf", weights=detector)
    zebra = tmp_path / "zebra.jsonl"
    zebra.write_text(json.dumps(LINES[0] | {"include": [{"class": "zebra", "count": 1}]}))
    with pytest.raises(MissingWeightsError, match="no class 'zebra'"):
        metrics.load("geneval_hf", weights=detector, questions=str(zebra), colours="x")
    with pytest.raises(MetricError, match="float32 alone"):
        metrics.load("geneval_hf", weights=detector, questions=str(questions), dtype="bfloat16")


FRAMES = [picture(seed, 40, 56) for seed in range(8)]
_SMALL = [np.asarray(frame.resize((32, 32), Image.Resampling.BILINEAR), dtype=np.float32) for frame in FRAMES]
UNSAFE = torch.tensor(np.stack(_SMALL)).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = ViTConfig(**sizes, image_size=32, patch_size=8, id2label={0: "normal", 1: "nsfw"})
    torch.manual_seed(3)
    model = ViTForImageClassification(config).eval()
    model.classifier.weight.data *= 60
    with torch.no_grad():
        logits = model(UNSAFE).logits
    model.classifier.bias.data[1] -= (logits[:, 1] - logits[:, 0]).median() - 1e-3  # some are on either side
    folder = tmp_path_factory.mktemp("nsfw") / "model"
    model.save_pretrained(folder)
    processor = {"resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_the_rate_of_unsafe_images_is_the_classifiers(classifier: Path, tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification

    with torch.no_grad():
        safe, wanted = ViTForImageClassification.from_pretrained(classifier).eval()(UNSAFE).logits.softmax(-1).T
    values = metrics.load("nsfw", weights=classifier, value="probability").score(FRAMES)
    assert_parity("nsfw", values, wanted, "the other label", safe)
    metric = metrics.load("nsfw", weights=classifier)
    check_card(metric)
    assert metric.score(FRAMES).tolist() == (wanted > 0.5).float().tolist()
    assert 0 < metric.score(FRAMES).mean() < 1  # the fixture has both
    other = tmp_path / "other"
    config = ViTConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, image_size=32)
    ViTForImageClassification(config).save_pretrained(other)
    with pytest.raises(MissingWeightsError, match="not nsfw and one other"):
        metrics.load("nsfw", weights=other)
    with pytest.raises(MetricError, match="not one of rate, probability"):
        metrics.load("nsfw", weights=classifier, value="share")
