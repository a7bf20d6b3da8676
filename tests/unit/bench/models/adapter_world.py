"""A tiny pipeline of a family, the product's prediction of an adapter, and that of weights merged by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.models.load import load_model
from tests.unit.bench.models.adapter_truth import Layer, joint_weight, split
from tests.unit.bench.models.families import family_pipeline, scheduler_of
from tests.unit.bench.models.tiny import tiny_suite


@dataclass
class Case:
    """What one file says: layers, alphas as they are written, and the scale that each comes to.

    `whole` are whole parameters of the network by name, `text` what is added to weights of text encoders, by
    (encoder, layer).
    """

    layers: list[Layer]
    alphas: Mapping[str, float | None]
    scales: Mapping[str, float]
    whole: Mapping[str, Tensor] = field(default_factory=dict)
    text: Mapping[tuple[str, str], Tensor] = field(default_factory=dict)


class World:
    """The base pipeline, a plain model to merge into, and one that adapters are loaded into."""

    def __init__(self, family: str, folder: Path, network: Any = None) -> None:
        """With `network` in the place of the family's tiny one."""
        self.family = family
        self.folder = family_pipeline(family, folder)
        if network is not None:
            network.save_pretrained(self.folder / "unet")
        self.plain = self.model()
        self.weights = {name: value.detach().clone() for name, value in self.plain.network.state_dict().items()}
        self.before = prediction(self.plain, "base")
        self.size = float(self.before.abs().max())
        self._product: Any = None
        self._count = 0

    def model(self, folder: Path | None = None) -> Any:
        options = {"rescale_betas_zero_snr": False} if self.family == "sd" else {}
        suite = tiny_suite(scheduler_of(self.family), options=options)
        suite.model.family = self.family
        return load_model(folder or self.folder, suite)

    def compare(self, path: Path, case: Case, strength: float = 1.0) -> tuple[float, float]:
        """(largest difference between the product and the truth, how far the truth moves the prediction).

        Adapters are loaded into one model one after the other, around the same layers.
        """
        if self._product is None or self._count % 12 == 0:
            self._product = self.model()
        self._count += 1
        name = f"adapter{self._count}"
        self._product.add_network(name, path, strength)
        made = prediction(self._product, name)
        assert torch.equal(prediction(self._product, "base"), self.before), "the base network changed"
        wanted = self.truth(case)
        return float((made - wanted).abs().max()), float((wanted - self.before).abs().max())

    def truth(self, case: Case) -> Tensor:
        """The prediction with the weights merged by hand; in a layer with a bias of its own that is merged too."""
        plain, merged, hooks = self.model() if case.text else self.plain, {**self.weights, **case.whole}, []
        for (part, name), added in case.text.items():
            getattr(plain.pipeline, part).get_submodule(name).weight.data += added
        for layer in case.layers:
            scale = case.scales[layer.piece.name]
            made = layer.new_weight(joint_weight(layer.piece, merged), scale)
            merged |= split(layer.piece, made, merged)
            if layer.bias is not None:
                (target,) = layer.piece.targets
                hooks.append(_add_bias(plain.network.get_submodule(target), layer.bias(scale)))
        try:
            plain.network.load_state_dict(merged)
            return prediction(plain, "base")
        finally:
            plain.network.load_state_dict(self.weights)
            for hook in hooks:
                hook.remove()


def _add_bias(module: Any, bias: Tensor) -> Any:
    shape = (1, -1, 1, 1) if isinstance(module, torch.nn.Conv2d) else (-1,)
    return module.register_forward_hook(lambda layer, inputs, output: output + bias.reshape(shape))


@torch.inference_mode()
def prediction(model: Any, network: str) -> Tensor:
    count = 2 * torch.Size(model.latents_shape).numel()
    latents = torch.linspace(-1, 1, count).reshape(2, *model.latents_shape)
    guidance, cond = 1.0 if model.family == "flux" else 2.0, model.encode(["a star", "a circle"])
    return torch.as_tensor(model.predict(network, latents, torch.tensor(500.0), cond, guidance))
