"""Features for FID and KID: torch-fidelity's Inception, or a small transformers ResNetModel of the same use."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from metrics.base import Metric, S, SetMetric, make_card, pick_device
from metrics.errors import MetricError, MissingWeightsError
from metrics.hf_folder import load_folder, weight_files
from metrics.hub import locate
from metrics.images import Images, to_pil
from metrics.preprocess import squash, to_bytes, to_unit
from metrics.types import Card, Facts, Request
from metrics.weights import read_state, sha256

_SMALL_SIZE = 64
_networks: weakref.WeakValueDictionary[tuple[str, ...], Any] = weakref.WeakValueDictionary()


class Inception:
    """Images -> features, float32 [N, D]; `settings` and `files` describe it for the card."""

    def __init__(
        self, prepare: Callable[[Image.Image], Tensor], network: Any, settings: dict[str, Any], files: list[Path]
    ) -> None:
        self.prepare = prepare
        self.network = network
        self.settings = settings
        self.files = files

    def __call__(self, metric: Metric, images: Images) -> NDArray[np.float32]:
        """Features of all images, in batches of the metric's size. Images of different sizes go one by one."""
        frames = to_pil(images)
        parts: list[Tensor] = []
        for start in range(0, len(frames), metric.batch_size):
            inputs = [self.prepare(frame) for frame in frames[start : start + metric.batch_size]]
            if len({tuple(item.shape) for item in inputs}) > 1:
                parts.extend(self._features(item[None], metric.device) for item in inputs)
            else:
                parts.append(self._features(torch.stack(inputs), metric.device))
        width = int(self.settings["features"])
        return torch.cat(parts).numpy() if parts else np.zeros((0, width), dtype=np.float32)

    @torch.no_grad()
    def _features(self, inputs: Tensor, device: torch.device) -> Tensor:
        output = self.network(inputs.to(device))
        found: Tensor = output[0] if isinstance(output, tuple) else output.pooler_output
        return found.flatten(1).float().cpu()


def _published_file(facts: Facts) -> Path:
    url = facts.weights or ""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=facts.sha256[0], progress=False)
    except Exception as error:  # urllib, socket and file errors: not downloadable
        raise MissingWeightsError(
            f"{facts.title}: the Inception weights '{path}' are missing and could not be downloaded "
            f"({type(error).__name__}): run `mkdir -p {path.parent} && curl -L -o {path} {url}` where there is "
            "a network."
        ) from error
    return path


def _small(folder: Path, what: str, device: torch.device) -> Inception:
    from transformers import ResNetModel

    files = weight_files(folder, what)
    key = (*(sha256(item) for item in files), str(device))
    network = _networks.get(key)
    if network is None:
        network = load_folder(ResNetModel, folder, what, drop=(r"classifier\..*",)).to(device)
        _networks[key] = network
    settings = {
        "network": "ResNetModel folder",
        "features": int(network.config.hidden_sizes[-1]),
        "resize": f"PIL bilinear to {_SMALL_SIZE}, squash",
    }

    def prepare(image: Image.Image) -> Tensor:
        return to_unit(squash(image, _SMALL_SIZE, Image.Resampling.BILINEAR)) * 2 - 1

    return Inception(prepare, network, settings, files)


def _published(path: Path, what: str, device: torch.device) -> Inception:
    key = (sha256(path), str(device))
    network = _networks.get(key)
    if network is None:
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
            reason = str(error).strip().splitlines()[0][:160]
            raise MissingWeightsError(
                f"{what}: '{path}' does not hold torch-fidelity's Inception weights ({reason})."
            ) from error
        network = network.to(device).requires_grad_(False).eval()
        _networks[key] = network
    settings = {
        "network": "torch-fidelity InceptionV3",
        "features": 2048,
        "resize": "torch-fidelity (TensorFlow 1 bilinear to 299, no antialias)",
    }
    return Inception(to_bytes, network, settings, [path])


def load_inception(facts: Facts, request: Request, **more: Any) -> tuple[Card, torch.device, Inception]:
    """Card, device and feature network (shared by FID and KID); `more` are further settings for the card."""
    device = pick_device(request.device)
    if request.dtype != "float32":
        raise MetricError(f"{facts.name} runs in float32 only.")
    path = locate(request.weights) if request.weights else _published_file(facts)
    if path.is_dir() and not (path / "config.json").is_file():
        found = sorted(path.glob("*.pth"))
        if not found:
            raise MissingWeightsError(f"{facts.title}: folder '{path}' has neither config.json nor a .pth file.")
        path = found[0]
    if path.is_dir() or path.name in ("config.json", "model.safetensors"):
        inception = _small(path if path.is_dir() else path.parent, facts.title, device)
    else:
        inception = _published(path, facts.title, device)
    card = make_card(facts, request, inception.files, {**inception.settings, **more})
    return card, device, inception


class InceptionMetric(SetMetric[S]):
    """A set metric over Inception's features: what FID and KID have in common."""

    def __init__(self, card: Card, device: torch.device, inception: Inception) -> None:
        super().__init__(card, device)
        self.inception = inception

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From torch-fidelity's Inception weights, or a transformers ResNetModel folder."""
        return cls(*load_inception(facts, request))

    @torch.no_grad()
    def embed(self, images: Images) -> torch.Tensor:
        """Features, float32 [N, D] on the CPU."""
        return torch.from_numpy(self.inception(self, images))
