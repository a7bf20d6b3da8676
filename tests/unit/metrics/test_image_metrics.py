from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import metrics
from metrics import BadInputError
from metrics.networks.preprocess import to_bytes, to_unit
from tests.tolerance import assert_close, relative_difference
from tests.unit.metrics.checkpoints import make_clip, picture

NAMES = ["image_reward", "hpsv2.1", "pickscore", "clip_score"]


@pytest.mark.parametrize("name", NAMES)
def test_batches_equal_one_by_one(name: str, loaded: Any, pictures: Any, prompts: Any) -> None:
    metric = loaded[name]
    together = metric.score(pictures, prompts)
    assert together.shape == (5,)
    assert together.dtype == torch.float32
    assert not together.requires_grad
    single = torch.cat([metric.score([image], [text]) for image, text in zip(pictures, prompts, strict=True)])
    assert_close(single, together)
    assert together.std() > 1e-3  # a degenerate network would pass everything else


@pytest.mark.parametrize("name", NAMES)
def test_small_batches_permutation_and_tensor_input(name: str, loaded: Any, pictures: Any, prompts: Any) -> None:
    metric = loaded[name]
    whole = metric.score(pictures, prompts)
    before, metric.batch_size = metric.batch_size, 2
    try:
        assert_close(metric.score(pictures, prompts), whole)
        order = [3, 0, 4, 1, 2]
        mixed = metric.score([pictures[i] for i in order], [prompts[i] for i in order])
        assert_close(mixed, whole[order])
    finally:
        metric.batch_size = before
    pixels = torch.stack([to_bytes(image) for image in pictures])
    assert_close(metric.score(pixels, prompts), whole)


@pytest.mark.parametrize("name", NAMES)
def test_prompts_matter_and_distinct_ones_are_encoded_once(
    name: str, loaded: Any, pictures: Any, prompts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric, seen = loaded[name], []
    original = metric.encode_prompts
    monkeypatch.setattr(metric, "encode_prompts", lambda texts: (seen.append(list(texts)), original(texts))[1])
    texts = [f"{prompt} {name}" for prompt in prompts]  # no other test has them
    metric.score(pictures, texts)
    metric.score_features(metric.embed(pictures), texts)
    assert seen == [list(dict.fromkeys(texts))]
    first, second = metric.score([pictures[0]] * 2, ["a red circle", "a blue square"])
    assert first != second


@pytest.mark.parametrize("name", NAMES)
def test_pixels_path_has_gradient_and_agrees(name: str, loaded: Any, prompts: Any) -> None:
    metric = loaded[name]
    frames = [picture(seed, 32, 32) for seed in range(3)]
    leaf = torch.stack([to_unit(frame) for frame in frames]).requires_grad_()
    values = metric.score_pixels(leaf, prompts[:3])
    assert_close(values, metric.score(frames, prompts[:3]))
    values.sum().backward()
    assert leaf.grad is not None
    assert bool((leaf.grad.flatten(1).abs().amax(dim=1) > 0).all())
    larger = torch.rand(2, 3, 50, 70, requires_grad=True)
    metric.score_pixels(larger, prompts[:2]).sum().backward()
    assert larger.grad is not None
    assert torch.isfinite(larger.grad).all()
    network = metric.model if hasattr(metric, "model") else metric.network
    assert not network.training
    assert not any(weight.requires_grad or weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_any_shape_and_mode(name: str, loaded: Any) -> None:
    shapes = [(64, 64, "RGB"), (97, 31, "L"), (10, 33, "RGBA"), (32, 20, "P"), (1, 3, "1")]
    values = loaded[name].score([picture(1, w, h, mode) for w, h, mode in shapes], ["a red circle"] * len(shapes))
    assert torch.isfinite(values).all()


@pytest.mark.parametrize("name", NAMES)
def test_empty_and_bad_input(name: str, loaded: Any, pictures: Any) -> None:
    metric = loaded[name]
    assert metric.score([], []).shape == (0,)
    assert metric.embed([]).shape[0] == 0
    assert metric.embed(pictures).shape[0] == 5
    assert torch.isfinite(metric.score(pictures[:2], ["", "é 中 🎈 \n\t <|endoftext|> [SEP] &amp;"])).all()
    with pytest.raises(BadInputError, match="5 images but 1 prompts"):
        metric.score(pictures, ["a"])
    for pixels in (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8), [picture(0)]):
        with pytest.raises(BadInputError, match="pixels"):
            metric.score_pixels(pixels, ["a"])


@pytest.mark.parametrize("name", NAMES)
def test_long_prompts_are_cut_and_said(name: str, weights: dict[str, Path]) -> None:
    metric = metrics.load(name, weights=weights[name])
    metric.score([picture(0)], ["a red circle"])
    assert metric.notes() == []
    metric.score([picture(0)], ["red " * 200])
    limit = metric.card.settings["max_tokens"]
    assert metric.notes() == [f"1 prompt longer than {limit} tokens was cut"]
    metric.score([picture(0)] * 4, ["red " * 200, "blue " * 300, "blue " * 300, "small"])
    metric.score([picture(0)], ["big " * 200])
    assert metric.notes() == [f"3 prompts longer than {limit} tokens were cut"]  # different ones, over all calls


def test_scales(loaded: Any, pictures: Any, prompts: Any) -> None:
    scale = loaded["pickscore"].model.logit_scale.exp()
    cosine = loaded["clip_score"].score(pictures, prompts) / 100
    assert_close(loaded["pickscore"].score(pictures, prompts), cosine * scale)
    assert loaded["hpsv2.1"].score(pictures, prompts).abs().max() <= 1.0
    metric = loaded["image_reward"]
    tokens = metric.tokenizer(prompts, padding="max_length", truncation=True, max_length=35, return_tensors="pt")
    images = metric.embed(pictures)
    raw = metric.network.reward(images, tokens.input_ids, tokens.attention_mask)
    wanted = (raw - 0.16717362830052426) / 1.0333394966054072
    assert_close(metric.score(pictures, prompts), wanted)  # padding width does not matter
    assert bool((tokens.input_ids[:, 0] == metric.tokenizer.cls_token_id).all())


def test_hps_antialias_changes_scores_and_digest(weights: dict[str, Path], loaded: Any, pictures: Any) -> None:
    on = metrics.load("hpsv2.1", weights=weights["hpsv2.1"], antialias=True)
    texts = ["a red circle"] * 5
    assert (on.score(pictures, texts) - loaded["hpsv2.1"].score(pictures, texts)).abs().max() > 1e-5
    assert on.card.digest != loaded["hpsv2.1"].card.digest
    assert loaded["hpsv2.1"].card.settings["antialias"] is False


def test_clip_eos_guard(tmp_path: Path, loaded: Any, pictures: Any, prompts: Any) -> None:
    with pytest.raises(metrics.MissingWeightsError, match="would not depend on the prompt"):
        metrics.load("pickscore", weights=make_clip(tmp_path / "wrong", eos=5))
    legacy = metrics.load("pickscore", weights=make_clip(tmp_path / "legacy", eos=2))
    values, wanted = legacy.score(pictures, prompts), loaded["pickscore"].score(pictures, prompts)
    assert_close(values, wanted)  # its texts may have been encoded in other batches


def test_alpha_is_dropped_not_composited(loaded: Any) -> None:
    image = picture(4, mode="RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    for name in ("pickscore", "hpsv2.1"):
        with_alpha, without = loaded[name].score([image, image.convert("RGB")], ["a red circle"] * 2)
        assert_close(with_alpha, without)
    with_alpha, without = loaded["image_reward"].score([image, image.convert("RGB")], ["a red circle"] * 2)
    assert relative_difference(with_alpha, without) > 1e-4  # officially resized with its alpha, then made RGB


def test_image_reward_traps_are_visible(loaded: Any, pictures: Any, prompts: Any) -> None:
    """Each wrong choice that silently moves scores must move these too, or a test could not see it."""
    metric = loaded["image_reward"]
    right, network = metric.score(pictures, prompts), metric.network
    assert network.vision.config.layer_norm_eps == 1e-6
    assert network.text.config.layer_norm_eps == 1e-12
    tokens = metric.tokenizer(prompts, padding=True, return_tensors="pt")
    images = metric.embed(pictures)
    scaled = (network.reward(images, tokens.input_ids, torch.ones_like(tokens.attention_mask)) - 0.167) / 1.033
    assert (scaled - right).abs().max() > 1e-3  # without the attention mask
    encoded = tokens.input_ids.clone()
    encoded[:, 0] = metric.tokenizer.convert_tokens_to_ids("[ENC]")
    scaled = (network.reward(images, encoded, tokens.attention_mask) - 0.167) / 1.033
    assert (scaled - right).abs().max() > 1e-3  # with BLIP's [ENC] as first token


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_near_and_in_the_card(name: str, weights: dict[str, Path], loaded: Any) -> None:
    half = metrics.load(name, weights=weights[name], dtype="bfloat16")
    frames, texts = [picture(1), picture(2)], ["a red circle", "a big square"]
    values, wanted = half.score(frames, texts), loaded[name].score(frames, texts)
    assert values.dtype == torch.float32
    assert (values - wanted).abs().max() < 0.1 * max(1.0, float(wanted.abs().max()))
    assert half.card.settings["dtype"] == "bfloat16"
    assert half.card.digest != loaded[name].card.digest


def test_standard_clip_tokenizer_is_open_clips_vocabulary() -> None:
    from open_clip.tokenizer import SimpleTokenizer

    from metrics.networks.clip_tokenizer import load_tokenizer

    tokenizer = load_tokenizer(Path("/nowhere"), 49408, "x")
    text = "a photo of two cats, isn't it 42?"
    ids = tokenizer(text).input_ids
    assert SimpleTokenizer()([text])[0, : len(ids)].tolist() == ids
    assert (tokenizer.eos_token_id, len(tokenizer)) == (49407, 49408)
    with pytest.raises(metrics.MissingWeightsError, match="not CLIP's own"):
        load_tokenizer(Path("/nowhere"), 300, "x")
