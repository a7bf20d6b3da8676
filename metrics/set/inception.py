"""Features for FID and KID: torch-fidelity's Inception, or a small transformers ResNetModel of the same use."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor, nn

from metrics.base.kinds import S, make_card, pick_device
from metrics.errors import MetricError, MissingWeightsError, first_line
from metrics.networks.hf_folder import load_folder, weight_files
from metrics.networks.preprocess import to_bytes
from metrics.networks.resize import BILINEAR, Convention
from metrics.set.kinds import FeatureSetMetric
from metrics.types import Card, Facts, Request
from metrics.weights.hub import locate, release_file
from metrics.weights.state_dict import read_state, sha256

_SMALL_SIZE = 64
_SIZE = 299
_networks: weakref.WeakValueDictionary[tuple[str, ...], Any] = weakref.WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class Inception:
    """Images -> features, float32 [N, D]; `settings` and `files` describe it for the card.

    `network` is what is shared between metrics; `run` puts prepared inputs [B, 3, S, S] through it.
    """

    prepare: Callable[[Image.Image], Tensor]
    run: Callable[[Tensor], Tensor]
    network: Any
    settings: dict[str, Any]
    files: list[Path]


def _small(folder: Path, what: str, device: torch.device, convention: Convention | None) -> Inception:
    from transformers import ResNetModel

    files = weight_files(folder, what)
    key = (*(sha256(item) for item in files), str(device))
    network = _networks.get(key)
    if network is None:
        network = load_folder(ResNetModel, folder, what, drop=(r"classifier\..*",)).to(device)
        _networks[key] = network
    used = convention or BILINEAR
    settings = {
        "network": "ResNetModel folder",
        "features": int(network.config.hidden_sizes[-1]),
        **used.settings,
        "crop": "none",
        "image_size": _SMALL_SIZE,
        "normalisation": "x / 127.5 - 1",
        "colour": "RGB before the resize",
    }

    def prepare(image: Image.Image) -> Tensor:
        return used.resize(image, _SMALL_SIZE) / 255 * 2 - 1

    def run(inputs: Tensor) -> Tensor:
        pooled: Tensor = network(inputs).pooler_output
        return pooled

    return Inception(prepare, run, network, settings, files)


def _fidelity_network(path: Path, what: str, device: torch.device) -> Any:
    key = (sha256(path), str(device))
    network = _networks.get(key)
    if network is not None:
        return network
    read_state(path)  # the package unpickles without weights_only: only a file that is plain tensors gets there
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

            with torch.random.fork_rng(devices=[]):
                network = FeatureExtractorInceptionV3(
                    "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
                )
    except (RuntimeError, OSError, KeyError) as error:
        reason = first_line(error)
        raise MissingWeightsError(
            f"{what}: '{path}' does not hold torch-fidelity's Inception weights ({reason})"
        ) from error
    network = network.to(device).requires_grad_(False).eval()
    _networks[key] = network
    return network


def _published(path: Path, what: str, device: torch.device, convention: Convention | None) -> Inception:
    network = _fidelity_network(path, what, device)
    settings = {"network": "torch-fidelity InceptionV3", "features": 2048, "crop": "none", "image_size": _SIZE}
    settings |= {"normalisation": "(x - 128) / 128", "colour": "RGB before the resize"}
    if convention is None:
        settings |= {"resize": "torch-fidelity's: TensorFlow 1 bilinear, squash", "antialias": False}
        return Inception(to_bytes, lambda inputs: network(inputs)[0], network, settings, [path])
    # The network resizes and takes bytes only; its layers behind that, in order, without the classifier.
    layers = nn.Sequential(*(layer for name, layer in network.named_children() if name != "fc"))

    def prepare(image: Image.Image) -> Tensor:
        return (convention.resize(image, _SIZE) - 128) / 128

    def run(inputs: Tensor) -> Tensor:
        features: Tensor = layers(inputs)
        return features

    return Inception(prepare, run, network, settings | dict(convention.settings), [path])


def load_inception(
    facts: Facts, request: Request, convention: Convention | None = None
) -> tuple[Card, torch.device, Inception]:
    """Card, device and feature network of FID and KID; `convention` replaces torch-fidelity's own resize."""
    device = pick_device(request.device)
    if request.dtype != "float32":
        raise MetricError(f"{facts.name} runs in float32 only")
    if request.weights:
        path = locate(request.weights)
    else:
        path = release_file(facts.weights or "", facts.sha256[0], facts.title)
    if path.is_dir() and not (path / "config.json").is_file():
        found = sorted(path.glob("*.pth"))
        if not found:
            raise MissingWeightsError(f"{facts.title}: folder '{path}' has neither config.json nor a .pth file")
        path = found[0]
    if path.is_dir() or path.name in ("config.json", "model.safetensors"):
        inception = _small(path if path.is_dir() else path.parent, facts.title, device, convention)
    else:
        inception = _published(path, facts.title, device, convention)
    card = make_card(facts, request, inception.files, {**inception.settings, "statistics": "float64"})
    return card, device, inception


class InceptionMetric(FeatureSetMetric[S]):
    """A set metric over Inception's features: what FID and KID have in common."""

    convention: ClassVar[Convention | None] = None  # None: torch-fidelity's own resize

    def __init__(self, card: Card, device: torch.device, inception: Inception) -> None:
        super().__init__(card, device)
        self.inception = inception

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self.inception.settings["features"])

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From torch-fidelity's Inception weights, or a transformers ResNetModel folder."""
        return cls(*load_inception(facts, request, cls.convention))

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> network input [3, S, S]; where the network resizes, its size is the image's own."""
        return self.inception.prepare(image)

    def encode_images(self, inputs: Tensor) -> Tensor:
        """Network input [B, 3, S, S] -> features [B, D]."""
        return self.inception.run(inputs).flatten(1)
