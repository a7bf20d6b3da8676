"""The network in training: all of its weights or a LoRA, its averaged weights, and how it is written.

What is written is what the models' loader reads, so a checkpoint is a method's `weights` at once: a diffusers folder,
or a LoRA as PEFT writes it (`adapter_model.safetensors` with `adapter_config.json`), which suits every family.
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

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.models.base import BASE, Network
from bench.models.loading import quiet
from bench.models.peft_files import PEFT_PREFIX
from bench.training.recipes import TrainRecipe
from bench.training.rollout import TUNED

LORA_SEED = 0


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
            else:
                write_lora(folder, lora_state(self.module, self.adapter), lora_settings(self.recipe))


def make_trainable(model: Any, recipe: TrainRecipe, init: Path | None) -> Trainable:
    """Put the network TUNED into `model`, ready to learn, starting from the base network or from `init`.

    The base network itself learns where no regulariser compares with it.

    With `lora_rank` a LoRA is added to the base network by the model's own loader. Its first values are those of
    PEFT: A normal with deviation 1 / rank from a fixed seed, B zero, so that it changes nothing yet. Raises UsageError.
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
    if network.adapter is not None and not recipe.lora_rank:
        raise UsageError(f"{init} is a LoRA: pass its rank as --lora-rank to continue training it")
    if network.adapter is None and recipe.lora_rank:
        raise UsageError(f"{init} contains full weights, not a LoRA: omit --lora-rank, or start from the base model")
    module: Any = network.module
    module.requires_grad_(False)
    chosen = {
        name: parameter
        for name, parameter in module.named_parameters()
        if network.adapter is None or f".{network.adapter}." in name
    }
    for parameter in chosen.values():
        parameter.data = parameter.data.float()  # the optimiser's small steps would vanish in half precision
        parameter.requires_grad_(True)
    module.train()
    if recipe.checkpointing:
        module.enable_gradient_checkpointing()
    trainable = Trainable(module, chosen, network.adapter, recipe)
    if recipe.ema:
        from diffusers.training_utils import EMAModel

        trainable.average = EMAModel(trainable.values(), decay=recipe.ema)
    return trainable


def _add_lora(model: Any, recipe: TrainRecipe, init: Path | None) -> None:
    if init is not None:
        model.add_network(TUNED, init)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_lora(Path(folder), new_lora(model.networks[BASE].module, recipe), lora_settings(recipe))
        model.add_network(TUNED, Path(folder))


def new_lora(module: Any, recipe: TrainRecipe) -> dict[str, Tensor]:
    """The first values of a LoRA for `module`, by PEFT's key names. Raises UsageError if no layer is a target."""
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    config = LoraConfig(r=recipe.lora_rank, target_modules=list(recipe.lora_targets))
    with quiet(), torch.device("meta"):
        skeleton = type(module).from_config(module.config)
        try:
            shapes = get_peft_model_state_dict(inject_adapter_in_model(config, skeleton))
        except ValueError:  # PEFT found no target
            layers = sorted({name.rpartition(".")[2] for name, part in module.named_modules() if _is_linear(part)})
            raise UsageError(
                f"lora_targets {','.join(recipe.lora_targets)} match no layer of the {type(module).__name__}: "
                f"the names of its linear layers end in {', '.join(layers[:12])}"
            ) from None
    generator = torch.Generator().manual_seed(LORA_SEED)
    return {
        key: torch.randn(value.shape, generator=generator) / recipe.lora_rank
        if "lora_A" in key
        else torch.zeros(value.shape)
        for key, value in sorted(shapes.items())
    }


def lora_state(module: Any, adapter: str) -> dict[str, Tensor]:
    """The LoRA's values by PEFT's key names."""
    from peft import get_peft_model_state_dict

    state: dict[str, Tensor] = get_peft_model_state_dict(module, adapter_name=adapter)
    return state


def lora_settings(recipe: TrainRecipe) -> dict[str, Any]:
    """What `adapter_config.json` says: PEFT's names. Alpha is the rank unless the recipe says otherwise."""
    return {
        "peft_type": "LORA",
        "r": recipe.lora_rank,
        "lora_alpha": recipe.lora_alpha or recipe.lora_rank,
        "target_modules": sorted(recipe.lora_targets),
        "bias": "none",
        "lora_dropout": 0.0,
    }


def write_lora(folder: Path, state: dict[str, Tensor], settings: dict[str, Any]) -> None:
    """Write a LoRA in PEFT's form."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"{PEFT_PREFIX}{key}": value.detach().cpu().contiguous() for key, value in state.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _is_linear(part: nn.Module) -> bool:
    return isinstance(part, nn.Linear)
