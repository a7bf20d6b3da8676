"""The network in training: all of its weights or a LoRA, its averaged weights, and how it is written.

What is written is what the models' loader reads, so a checkpoint is a method's `weights` at once: a diffusers folder,
or a LoRA (`lora.py`).
"""

from __future__ import annotations

import contextlib
import copy
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from bench.errors import UsageError
from bench.models.base import BASE, Network
from bench.models.loading import quiet
from bench.training.lora import HOLDER, check_start, new_lora, replaced, write_adapter, write_lora
from bench.training.parameters import learning
from bench.training.recipes import TrainRecipe
from bench.training.rollout import TUNED


@dataclass(slots=True)
class Trainable:
    """The parameters that learn, by name, of `module`; `adapter` is the LoRA's name in it, None for full training."""

    module: Any
    parameters: dict[str, nn.Parameter]
    adapter: str | None
    recipe: TrainRecipe
    average: Any = None  # diffusers' EMAModel

    @property
    def count(self) -> int:
        """Number of trainable values."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    def values(self) -> list[nn.Parameter]:
        """The parameters in a fixed order."""
        return list(self.parameters.values())

    def update_average(self) -> None:
        """After an optimiser update: move the averaged weights, if there are any."""
        if self.average is not None:
            self.average.step(self.values())

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """With the averaged weights in place (without averaging: as it is)."""
        if self.average is None:
            yield
            return
        self.average.store(self.values())
        self.average.copy_to(self.values())
        try:
            yield
        finally:
            self.average.restore(self.values())

    def write(self, folder: Path) -> None:
        """Write the (averaged) weights into `folder`, which is made."""
        with self.averaged(), quiet():
            if self.adapter is None:
                self.module.save_pretrained(folder)
                forget_place(folder / "config.json")
            else:
                write_adapter(folder, self.module, self.adapter)


def make_trainable(model: Any, recipe: TrainRecipe, init: Path | None) -> Trainable:
    """Put the network TUNED into `model`, ready to learn, starting from the base network or from `init`.

    The base network itself learns where no regulariser compares with it.

    With `lora_rank` a LoRA is added to the base network by the model's own loader. One that the training starts from
    keeps its own ranks, strengths and layers. Raises UsageError.
    """
    if recipe.lora_rank:
        _add_lora(model, recipe, init)
    elif init is not None:
        model.add_network(TUNED, init)
    elif recipe.kl_weight or recipe.l2_weight:
        model.networks[TUNED] = Network(copy.deepcopy(model.networks[BASE].module))
    else:  # nothing asks for the base network: no second copy
        model.networks[TUNED] = model.networks[BASE]
    network = model.networks[TUNED]
    if init is not None:
        _check_whole(init, network)
    if network.adapter is not None and init is not None:
        check_start(init, network.module, network.adapter, recipe)
    if network.adapter is None and recipe.lora_rank:
        raise UsageError(f"{init} contains full weights, not a LoRA: omit --lora-rank, or start from the base model")
    module: Any = network.module
    module.requires_grad_(False)
    chosen = {
        name: parameter
        for name, parameter in module.named_parameters()
        if network.adapter is None or (f".{network.adapter}." in name and not name.startswith(f"{HOLDER}."))
    }
    if network.adapter is not None:
        chosen |= replaced(module, network.adapter)
    else:
        chosen = learning(module, chosen, recipe.learn)
    for parameter in chosen.values():
        parameter.data = parameter.data.float()  # the optimiser's small steps would vanish in half precision
        parameter.requires_grad_(True)
    module.train()
    if recipe.checkpointing:
        module.enable_gradient_checkpointing()
    checkpoint_decoder(model)
    trainable = Trainable(module, chosen, network.adapter, recipe)
    if recipe.ema:
        from diffusers.training_utils import EMAModel

        trainable.average = EMAModel(trainable.values(), decay=recipe.ema)
    return trainable


def _check_whole(init: Path, network: Any) -> None:
    """UsageError where weights to start from change more than the network: a checkpoint of it alone would lose that."""
    for part, named in (("text_adapter", "text encoders"), ("text", "text encoders"), ("vae", "an autoencoder")):
        if getattr(network, part, None) is not None:
            raise UsageError(
                f"{init} brings {named} of its own, which a checkpoint of the trained network would not have: start "
                "from its network alone (the folder unet or transformer, or a LoRA of the network)"
            )


def checkpoint_decoder(model: Any) -> None:
    """Have the autoencoder's activations computed again in the backward pass, block by block, instead of kept.

    Whatever the recipe says: the gradient is the same to the bit, the decoder's activations are the largest of a
    training step (docs/training.md has the figures), and one more pass through the decoder is small beside a rollout.
    """
    vae: Any = getattr(model, "vae", None)
    if getattr(vae, "_supports_gradient_checkpointing", False):
        vae.enable_gradient_checkpointing()


def forget_place(config: Path) -> None:
    """Leave out of a network's config where it was loaded from: the same training elsewhere is the same checkpoint."""
    if config.is_file():
        said = json.loads(config.read_text(encoding="utf-8"))
        said.pop("_name_or_path", None)
        config.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _add_lora(model: Any, recipe: TrainRecipe, init: Path | None) -> None:
    if init is not None:
        model.add_network(TUNED, init)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_lora(Path(folder), *new_lora(model.networks[BASE].module, recipe))
        model.add_network(TUNED, Path(folder))
