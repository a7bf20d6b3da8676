"""LPIPS diversity: mean pairwise LPIPS of the images of one prompt (Zhang et al. 2018, arXiv 1801.03924).

The network is the `lpips` package's. Every image passes the trunk once: with unit-normalised maps f scaled by
sqrt(w / HW), the distance of two images is |f_a - f_b|^2, taken from a Gram matrix in float64, which is exact to
about 1e-8 (float32 would lose four digits).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor

from metrics.base.kinds import GroupMetric, make_card, pick_device
from metrics.base.precision import by_its_card
from metrics.errors import BadInputError, MetricError
from metrics.images import Images, to_pil
from metrics.networks.preprocess import to_unit
from metrics.types import Card, Facts, Request, one_of
from metrics.weights.hub import locate, release_file
from metrics.weights.state_dict import WEIGHT_SUFFIXES, check_keys, find_file, load_strict, read_state

# torchvision's files; the last part of a name is the start of the file's sha256.
TRUNKS = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
DEFAULT = "alex"
_TORCHVISION = "https://download.pytorch.org/models"
_EPS = 1e-10  # lpips adds it to the norm (not under the root)
_CHUNK = 1 << 22  # elements of one float64 chunk of the Gram sum
_ROUNDING = 1e-12  # of the squared norms: below it a difference is rounding of the Gram form, not a distance


def net_of(state: Mapping[str, Tensor]) -> str | None:
    """The net whose trunk a state dict holds, by its layers; None for something else."""
    first = state.get("features.0.weight")
    if first is None or first.dim() != 4:
        return None
    if "features.3.squeeze.weight" in state:
        return "squeeze"
    return {11: "alex", 3: "vgg"}.get(int(first.shape[-1]))


def _published(net: str) -> Path:
    name = TRUNKS[net]
    digest = name.rpartition("-")[2].removesuffix(".pth")
    return release_file(f"{_TORCHVISION}/{name}", digest, f"LPIPS ({net} trunk)")


def _lin_file(net: str) -> Path:
    import lpips

    return Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"


def _find(request: Request, asked: str | None, what: str) -> Path:
    """The weights file; in a folder that of the net that was asked for, else of any, the default first."""
    if request.weights is None:
        return _published(asked or DEFAULT)
    path = locate(request.weights)
    if path.is_file():
        return path
    nets = [asked] if asked else [DEFAULT, *(net for net in TRUNKS if net != DEFAULT)]
    globs = [name for net in nets for name in (TRUNKS[net], *(f"*{net}*{suffix}" for suffix in WEIGHT_SUFFIXES))]
    return find_file(path, globs, what)


def _check_net(asked: str | None, actual: str | None, path: Path) -> str:
    """The net of the file; MetricError where another was asked for: its values would stand under a wrong name."""
    if asked and actual and asked != actual:
        raise MetricError(
            f"lpips: '{path}' contains the net {actual}, not the {asked} asked for: omit the option net, or give the "
            f"weights of {asked}"
        )
    return actual or asked or DEFAULT


def build(net: str, state: Mapping[str, Tensor], where: str) -> Any:
    """The `lpips.LPIPS` network of "alex", "vgg" or "squeeze", with trunk keys `features.N.*` and lin keys.

    MissingWeightsError names missing or extra keys. Classifier weights of a trunk file are ignored.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips calls torchvision with arguments that are deprecated there
        import lpips

        with torch.device("meta"):
            network: Any = lpips.LPIPS(pretrained=False, pnet_rand=True, net=net, verbose=False)
    wanted = network.state_dict()
    full_names = {re.sub(r"^net\.slice\d+\.", "features.", key): key for key in wanted if key.startswith("net.")}
    full_names |= {key: key for key in wanted if re.match(r"lin\d\.", key)}
    kept = {key: value for key, value in state.items() if not key.startswith("classifier.")}
    # the package's list `lins` repeats lin0, lin1, ...: their keys follow from these
    check_keys(sorted(set(full_names) - set(kept)), sorted(set(kept) - set(full_names)), where)
    full = {full_names[key]: value for key, value in kept.items()}
    full |= {key: full[re.sub(r"^lins\.(\d)", r"lin\1", key)] for key in wanted if key.startswith("lins.")}
    full |= {key: value for key, value in wanted.items() if key.startswith("scaling_layer.")}
    load_strict(network, full, where)
    return network


def _settings(net: str, scaling: Any) -> dict[str, Any]:
    return {
        "net": net,
        "version": "0.1",
        "resize": "none",
        "antialias": "no resize",
        "crop": "none",
        "mean": [round(value, 6) for value in scaling.shift.flatten().tolist()],
        "deviation": [round(value, 6) for value in scaling.scale.flatten().tolist()],
        "normalisation": "pixels in -1..1, then mean and deviation",
        "colour": "RGB",
        "pairs": "all unordered",
    }


class LPIPS(GroupMetric):
    """Mean pairwise LPIPS of images at their own resolution, which must be one for all of them."""

    option_help: ClassVar[Mapping[str, str]] = {
        "net": f"{one_of(TRUNKS)}: demand this one; none: the one that the file holds, `alex` as published",
    }

    def __init__(self, card: Card, device: torch.device, network: Any) -> None:
        super().__init__(card, device, batch_size=8)
        self.network = network.to(device)

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a file or folder with `features.N.*` (trunk) and `linK.model.1.weight`; a torchvision trunk file alone
        takes the lin weights of the lpips package. Its layers say which net it is; the option `net` demands one."""
        device = pick_device(request.device)
        asked = request.options.get("net")
        if asked is not None and asked not in TRUNKS:
            raise MetricError(f"lpips: net {asked!r} is not one of {', '.join(TRUNKS)}")
        if request.dtype != "float32":
            raise MetricError("lpips runs in float32 only (its distances are differences of nearly equal numbers)")
        path = _find(request, asked, facts.title)
        state, files = read_state(path), {path.name: path}
        net = _check_net(asked, net_of(state), path)
        if not any(key.startswith("lin") for key in state):
            lin = _lin_file(net)
            files[f"lpips/{lin.name}"] = lin
            state |= read_state(lin)
        network = build(net, state, f"{facts.title}: '{path}'")
        card = make_card(facts, request, files, _settings(net, network.scaling_layer))
        if net != DEFAULT and (asked or card.label is None):  # a label says already that it is another network
            card = replace(card, facts=replace(facts, title=f"{facts.title} ({net})"))
        return cls(card, device, network)

    def _inputs(self, images: list[Image.Image]) -> list[Tensor]:
        sizes = {image.size for image in images}
        if len(sizes) > 1:
            shown = ", ".join(f"{width} x {height}" for width, height in sorted(sizes)[:3])
            raise BadInputError(f"LPIPS compares images of one size only, these are {shown}: resize them first")
        parts = []
        for batch in self._batches(images):
            pixels = torch.stack([to_unit(image) for image in batch]).to(self.device)
            parts.append(self.network.scaling_layer(pixels * 2 - 1))
        return parts

    @torch.no_grad()
    @by_its_card
    def pairwise(self, images: Images) -> Tensor:
        """LPIPS of each pair, float32 [K, K] on the CPU: symmetric, zero diagonal, at least 0."""
        frames = to_pil(images)
        count = len(frames)
        if count == 0:
            return torch.zeros(0, 0)
        parts = self._inputs(frames)
        total = torch.zeros(count, count, dtype=torch.float64)
        for level, lin in enumerate(self.network.lins, start=1):
            stage = getattr(self.network.net, f"slice{level}")
            try:
                parts = [stage(part) for part in parts]
            except RuntimeError as error:
                width, height = frames[0].size
                if any(words in str(error).lower() for words in ("too small", "output size", "kernel size")):
                    raise BadInputError(f"images of {width} x {height} pixels are too small for LPIPS") from error
                raise
            total += _squared_differences(parts, lin.model[-1].weight.flatten())
        return total.to(torch.float32)


def _squared_differences(parts: list[Tensor], weight: Tensor) -> Tensor:
    """|f_a - f_b|^2 for all pairs of one layer's maps (batches [B, C, H, W]) and lin weights [C], float64 [K, K].

    A weight may be negative in an untrained file, so it multiplies one side instead of its root both sides.
    """
    maps = torch.cat(parts)
    maps = maps / (maps.square().sum(dim=1, keepdim=True).sqrt() + _EPS)
    count, channels, height, width = maps.shape
    rows = maps.flatten(2)
    scale = weight.double().view(1, channels, 1) / (height * width)
    gram = torch.zeros(count, count, dtype=torch.float64, device=maps.device)
    step = max(1, _CHUNK // (count * channels))
    for start in range(0, height * width, step):
        part = rows[..., start : start + step].double()
        gram += part.flatten(1) @ (part * scale).flatten(1).T
    gram = (gram + gram.T) / 2
    norms = gram.diagonal()
    found = norms[:, None] + norms[None, :] - 2 * gram
    found[found.abs() <= _ROUNDING * (norms[:, None].abs() + norms[None, :].abs())] = 0.0
    return found.fill_diagonal_(0.0).cpu()
