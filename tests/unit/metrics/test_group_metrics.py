import math
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import metrics
from metrics import BadInputError
from metrics.base.kinds import cosine_distances, mean_of_pairs
from metrics.networks.preprocess import to_unit
from tests.tolerance import assert_close
from tests.unit.metrics.checkpoints import picture

NAMES = ["lpips", "dreamsim", "dino", "clip_diversity"]
ALL = [*NAMES, "vendi"]


@pytest.mark.parametrize("name", ALL)
def test_pairwise_is_a_distance(name: str, loaded: Any, pictures: Any) -> None:
    metric = loaded[name]
    found = metric.pairwise(pictures)
    assert found.shape == (5, 5)
    assert found.dtype == torch.float32
    assert torch.equal(found, found.T)
    assert bool((found.diagonal() == 0).all())
    assert bool((found >= 0).all())
    assert found[0, 1] > 1e-3
    order = torch.tensor([3, 0, 4, 1, 2])
    mixed = metric.pairwise([pictures[i] for i in order])
    assert_close(mixed, found[order][:, order])
    for i, j in ((0, 1), (2, 4)):
        assert_close(metric.pairwise([pictures[i], pictures[j]])[0, 1], found[i, j])


@pytest.mark.parametrize("name", NAMES)
def test_score_is_the_mean_over_unordered_pairs(name: str, loaded: Any, pictures: Any) -> None:
    metric = loaded[name]
    distances = metric.pairwise(pictures).double()
    wanted = sum(float(distances[i, j]) for i in range(5) for j in range(i)) / 10
    assert metric.score(pictures, "a red circle") == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_identical_images_have_distance_zero(name: str, loaded: Any) -> None:
    assert loaded[name].score([picture(1), picture(1), picture(1)]) == 0.0
    assert loaded[name].pairwise([picture(1), picture(2), picture(1)])[0, 2] == 0.0


@pytest.mark.parametrize("name", ALL)
def test_fewer_than_two_images_are_undefined(name: str, loaded: Any) -> None:
    metric = loaded[name]
    assert math.isnan(metric.score([]))
    assert math.isnan(metric.score([picture(0)]))
    assert metric.undefined_reason == "needs at least 2 images"
    assert metric.pairwise([]).shape == (0, 0)
    assert metric.pairwise([picture(0)]).tolist() == [[0.0]]
    with pytest.raises(BadInputError, match="image 0"):
        metric.score(["broken"])


def test_lpips_equals_the_package(weights: dict[str, Path], loaded: Any) -> None:
    from metrics.weights.state_dict import read_state

    frames = [picture(seed, 64, 48) for seed in range(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lpips

        package = lpips.LPIPS(net="squeeze", pnet_rand=True, pretrained=True, verbose=False)
    state, own = read_state(weights["lpips"] / "squeeze.safetensors"), package.net.state_dict()
    names = {key.partition(".")[2]: key for key in own}
    package.net.load_state_dict({names[k.removeprefix("features.")]: v for k, v in state.items() if "features" in k})
    inputs = [to_unit(frame)[None] for frame in frames]
    with torch.no_grad():
        wanted = torch.tensor([[float(package(a, b, normalize=True)) for b in inputs] for a in inputs])
    found = loaded["lpips"].pairwise(frames)
    assert wanted.max() > 0.01
    assert_close(found, wanted)


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_lpips_takes_torchvisions_trunk_files(net: str, tmp_path: Path) -> None:
    from torchvision import models

    from metrics.group.lpips import TRUNKS, _lin_file, build
    from metrics.weights.state_dict import read_state

    maker = {"alex": models.alexnet, "vgg": models.vgg16, "squeeze": models.squeezenet1_1}[net]
    with torch.device("meta"):
        names = maker(weights=None).state_dict()
    state = {key: torch.full(tuple(value.shape), 0.01) for key, value in names.items() if "features" in key}
    network = build(net, {**state, **read_state(_lin_file(net)), "classifier.1.weight": torch.zeros(1)}, "x")
    assert not any(value.is_meta for value in network.state_dict().values())
    assert torch.equal(network.lins[0].model[-1].weight, network.lin0.model[-1].weight)
    if net == "squeeze":
        torch.save(state, tmp_path / TRUNKS[net])  # a folder with the trunk file alone
        metric = metrics.load("lpips", weights=tmp_path, net=net)
        assert metric.card.settings["net"] == "squeeze"
        assert len(metric.card.weights) == 2


def test_lpips_is_of_the_net_that_was_asked_for(weights: dict[str, Path], tmp_path: Path) -> None:
    file = weights["lpips"] / "squeeze.safetensors"
    with pytest.raises(metrics.MetricError, match="contains the net squeeze, not the vgg asked for"):
        metrics.load("lpips", weights=file, net="vgg")
    with pytest.raises(metrics.MissingWeightsError, match=r"has none of vgg16-397923af\.pth"):
        metrics.load("lpips", weights=weights["lpips"], net="vgg")
    shutil.copyfile(file, tmp_path / "my-vgg.safetensors")  # the layers decide, not the name
    assert metrics.load("lpips", weights=tmp_path / "my-vgg.safetensors").card.settings["net"] == "squeeze"
    plain, asked = metrics.load("lpips", weights=file), metrics.load("lpips", weights=file, net="squeeze")
    assert plain.card.digest == asked.card.digest
    assert asked.card.facts.title == "LPIPS diversity (squeeze)"
    assert plain.card.facts.title == "LPIPS diversity"


def test_lpips_refuses_what_it_cannot_compare(loaded: Any, weights: dict[str, Path]) -> None:
    with pytest.raises(BadInputError, match="one size only, these are 32 x 32, 64 x 64"):
        loaded["lpips"].pairwise([picture(0), picture(0, 32, 32)])
    with pytest.raises(BadInputError, match="too small"):
        loaded["lpips"].pairwise([picture(0, 4, 4), picture(1, 4, 4)])
    with pytest.raises(BadInputError, match="images of 1 x 1 pixels are too small"):
        loaded["lpips"].pairwise([picture(0, 1, 1), picture(1, 1, 1)])
    with pytest.raises(metrics.MetricError, match="net 'resnet' is not one of"):
        metrics.load("lpips", weights=weights["lpips"], net="resnet")
    with pytest.raises(metrics.MetricError, match="float32 only"):
        metrics.load("lpips", weights=weights["lpips"], dtype="float16")


def test_lpips_chunks_do_not_matter(loaded: Any, pictures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loaded["lpips"].pairwise(pictures)
    monkeypatch.setattr("metrics.group.lpips._CHUNK", 1000)
    monkeypatch.setattr(loaded["lpips"], "batch_size", 2)
    assert_close(loaded["lpips"].pairwise(pictures), whole)


def test_dreamsim_uses_the_token_before_the_norm_and_subtracts_the_mean(loaded: Any, pictures: Any) -> None:
    from transformers import ViTModel

    metric = loaded["dreamsim"]
    model = ViTModel.from_pretrained(metric.card.source, add_pooling_layer=False).eval()
    kept: list[torch.Tensor] = []
    model.layernorm.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
    pixels = torch.stack([to_unit(p.resize((32, 32), Image.Resampling.BICUBIC)) * 2 - 1 for p in pictures])
    with torch.no_grad():
        after = model(pixel_values=pixels).last_hidden_state[:, 0]
    raw = kept[0][:, 0]
    wanted = torch.nn.functional.normalize(raw - raw.mean(dim=1, keepdim=True), dim=-1)
    assert_close(metric.embed(pictures), wanted)
    assert_close(loaded["dino"].embed(pictures), torch.nn.functional.normalize(after, dim=-1))


def test_dino_and_vendi_share_the_network(loaded: Any) -> None:
    assert loaded["dino"].encoder is loaded["vendi"].encoder
    assert loaded["dino"].backbone == loaded["vendi"].backbone != loaded["dreamsim"].backbone
    assert loaded["dino"].card.digest != loaded["vendi"].card.digest


def test_preprocessor_config_is_obeyed(weights: dict[str, Path], loaded: Any, tmp_path: Path, pictures: Any) -> None:
    import shutil

    folder = tmp_path / "vit"
    shutil.copytree(weights["dino"], folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.4, 0.4, 0.4], "resample": 2}')
    metric = metrics.load("dino", weights=folder)
    assert metric.card.settings["resize"] == "PIL bilinear, squash"
    assert metric.card.settings["mean"] == [0.4] * 3
    assert metric.score(pictures) != loaded["dino"].score(pictures)
    (folder / "preprocessor_config.json").write_text('{"image_mean": 7}')
    with pytest.raises(metrics.MissingWeightsError, match="image_mean"):
        metrics.load("dino", weights=folder)


def test_helpers() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    assert cosine_distances(rows).tolist() == [[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]]
    assert mean_of_pairs(cosine_distances(rows)) == pytest.approx(4 / 3)
    assert math.isnan(mean_of_pairs(torch.zeros(1, 1)))
