"""What sampling and training need of a model, whatever its family."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from bench.models.states import KnownStates, States

if TYPE_CHECKING:
    from bench.methods.conditions import PromptConditions

BASE = "base"
"""Name of the untuned network."""


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Encoded prompts: tensors by name, `states` with first axis N (one row a prompt), `empty` with first axis 1.

    `empty` is the empty or negative prompt, for classifier-free guidance. What the names are is the family's own
    business. `own` holds, by network, what networks with text encoders or a negative prompt of their own take instead.
    """

    states: Mapping[str, Tensor]
    empty: Mapping[str, Tensor]
    own: Mapping[str, Conditioning] = field(default_factory=dict)

    def of(self, network: str) -> Conditioning:
        """What this network takes."""
        return self.own.get(network, self)

    def take(self, rows: Sequence[int]) -> Conditioning:
        """The conditioning of these rows, in this order; a row may be taken several times."""
        any_state = next(iter(self.states.values()))
        index = torch.tensor(list(rows), device=any_state.device)
        own = {name: one.take(rows) for name, one in self.own.items()}
        return Conditioning({name: state[index] for name, state in self.states.items()}, self.empty, own)


@dataclass(slots=True, eq=False)
class TextSide:
    """Text encoders and tokenizers in a diffusers pipeline, and what they have encoded so far.

    Sides of a step that share their encoders and settings share this object, so nothing is encoded twice. `clip_skip`
    is the pipeline's, `parts` are its parts by their folders' names, `adapter` the name of the one that is on in the
    encoders while they encode. `known` holds the states of prompts, `negatives` those that guidance leads away from
    (None: the pipeline's default, the empty prompt), each without the axis N; `counted` are the prompts whose
    length was compared with what the encoders read.
    """

    pipeline: Any
    encoders: list[Any]
    tokenizers: list[Any]
    clip_skip: int | None = None
    parts: Mapping[str, Any] = field(default_factory=dict)
    adapter: str | None = None
    known: KnownStates = field(default_factory=KnownStates)
    negatives: dict[str | None, States] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)

    def to(self, device: torch.device | str) -> None:
        """Move the encoders."""
        for encoder in self.encoders:
            encoder.to(device)


@dataclass(slots=True)
class Network:
    """A network by name: a module, and the LoRA adapter that makes it this network (None: the module as it is).

    `text_adapter` is the name of the adapter in the text encoders (None: they are as they are).
    `text` are text encoders of its own and `vae` an autoencoder of its own (None: the base model's), as a tuned full
    pipeline brings them. `negative_prompt` and `guidance_rescale` hold for this network's side of a step.
    `skipped` are (path of a list of blocks, indices) that are left out when it runs.
    """

    module: nn.Module
    adapter: str | None = None
    text_adapter: str | None = None
    text: TextSide | None = None
    vae: Any = None
    negative_prompt: str | None = None
    guidance_rescale: float = 0.0
    skipped: tuple[str, tuple[int, ...]] | None = None

    @property
    def guidance_is_embedded(self) -> bool:
        """Whether guidance is an input of the network (latent consistency models), at one evaluation a step."""
        config = getattr(self.module, "config", None)
        return config is not None and getattr(config, "time_cond_proj_dim", None) is not None


class DiffusionModel(Protocol):
    """A loaded text-to-image diffusion model with one base network and any number of tuned ones."""

    device: torch.device
    dtype: torch.dtype
    networks: Mapping[str, Network]

    @property
    def latents_shape(self) -> tuple[int, ...]:
        """Shape of one sample's latents, such as (C, H, W)."""

    def add_network(self, name: str, path: Path, scale: float = 1.0, ignore_text: bool = False) -> None:
        """Load a tuned checkpoint of any form under `name`; MissingError if it is damaged or of another model.

        `scale` multiplies the strength of a LoRA; with `ignore_text` what it says of text encoders is left out.
        """

    def add_conditions(self, name: str, of: str, conditions: PromptConditions, embeddings: Mapping[str, Path]) -> None:
        """Add the network `of` under another name, with prompt conditions; `embeddings` are files by token."""

    def add_soup(self, name: str, parts: Sequence[tuple[str, float]]) -> None:
        """Add the average of networks that were added, (name, share) each; the rest to 1 is the base's share."""

    def add_fused(self, name: str, of: str) -> None:
        """Add the network `of` with its LoRA fused into the weights under another name."""

    def add_int8(self, name: str, of: str) -> None:
        """Add the network `of` with weights of 8 bits under another name."""

    def use_steps(self, steps: int) -> None:
        """Take this many denoising steps from now on."""

    def add_weak(self, name: str, of: str, skipped: tuple[str, tuple[int, ...]]) -> None:
        """Add the network `of` without the blocks (path of their list, indices) under another name."""

    def prepare(self, prompts: Sequence[str]) -> None:
        """Say which prompts a run has, in its order: a device with memory of its own encodes them ahead."""

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Encode N prompts; a prompt's states are kept, within a bound of memory, and do not depend on its company."""

    def forget(self, most: int = 1024) -> None:
        """Drop the encoded prompts if there are more than `most`: training meets new captions all the time."""

    def new_scheduler(self) -> Any:
        """A fresh diffusers scheduler of the suite with its timesteps set."""

    def predict(self, network: str, latents: Tensor, t: Tensor, cond: Conditioning, guidance: float) -> Tensor:
        """The network's guided prediction for scaled latents [N, ...] at timestep t, of the latents' shape."""

    def predict_pair(self, network: str, latents: Tensor, t: Tensor, cond: Conditioning) -> tuple[Tensor, Tensor]:
        """Predictions (with, without the prompt) for scaled latents [N, ...], which guiders combine."""

    def decode(self, latents: Tensor, network: str = BASE) -> Tensor:
        """Final latents [N, ...] -> images, uint8 [N, 3, H, W] on the CPU, by the autoencoder of this network."""

    def encode_pixels(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Float pixels [N, 3, H, W] in [-1, 1] -> float32 latents [N, ...], drawn from the encoder's posterior."""

    def decode_pixels(self, latents: Tensor) -> Tensor:
        """Latents [N, ...] -> float32 pixels [N, 3, H, W] in [0, 1], with gradient: what training rewards."""

    def decoding(self, latents: Tensor, network: str = BASE) -> Callable[[], Tensor]:
        """Begin to decode, and return what waits for the images of `decode`; it may be called in another thread."""

    def compile(self) -> None:
        """Compile the networks that are loaded, and their decoders, with torch.compile; once."""

    def make_room(self) -> bool:
        """Move off the device what the next step does not need; False if there was nothing to move."""
