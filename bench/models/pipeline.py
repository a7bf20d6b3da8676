"""What all families share: parts loaded from a folder, prompts encoded once, guidance, networks, decoding."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from bench.errors import MissingError, UsageError, unknown
from bench.models.base import BASE, Conditioning, Network
from bench.models.checkpoints import load_tuned
from bench.models.decoding import Pictures
from bench.models.families import TITLES, base_folder, family_of_config, family_of_index
from bench.models.loading import DTYPES, check_config, load_part, load_tokenizer, quiet
from bench.models.networks import Networks
from bench.models.schedulers import accepted, check_calls_per_step, make_scheduler, scheduler_class, told
from bench.runtime.log import ONCE, get_logger

if TYPE_CHECKING:
    from bench.suite.schema import Suite

logger = get_logger(__name__)


class PipelineModel(Pictures):
    """The parts of a diffusers pipeline folder, with the arithmetic of the pipeline's own `__call__`.

    Prompts are encoded by the pipeline's own `encode_prompt`, one at a time, so that a prompt's states do not depend on
    which others a run has. Whether a network predicts noise, velocity or flow is the scheduler's business. Guidance is
    classifier-free (Ho and Salimans 2022, arXiv 2207.12598, in Imagen's parametrisation: 1 means none).
    """

    family: ClassVar[str]
    pipeline_class: ClassVar[str]
    network_part: ClassVar[str]
    parts: ClassVar[Mapping[str, str]]
    """Part's folder -> "module:class", tokenizers included, the network aside."""
    network_class: ClassVar[str]
    optional_parts: ClassVar[frozenset[str]] = frozenset()
    pipeline_options: ClassVar[Mapping[str, Any]] = {}
    patch: ClassVar[int] = 1
    """Latents' sides must be multiples of this."""

    def __init__(self, folder: Path, suite: Suite, device: str = "cpu") -> None:
        if suite.dtype not in DTYPES:
            raise unknown("dtype", suite.dtype, DTYPES)
        self.device, self.dtype = torch.device(device), DTYPES[suite.dtype]
        self.folder, self.sampler, self.resolution = folder, suite.sampler, suite.resolution
        self.index = check_config(folder, "model_index.json")
        self._check_family()
        self.scheduler_config = check_config(folder / "scheduler", "scheduler_config.json")
        self.scheduler_class = scheduler_class(suite.sampler.scheduler, suite.sampler.options)
        self.network: Any = load_part(load_class(self.network_class), self._network_folder(), self.dtype)
        loaded = {name: self._load(name, kind) for name, kind in self.parts.items()}
        self.vae: Any = loaded["vae"]
        self.tokenizers = [part for name, part in loaded.items() if "tokenizer" in name and part is not None]
        self._encoders = [part for name, part in loaded.items() if "text_encoder" in name and part is not None]
        self.pipeline = self._assemble(loaded)
        self.networks: dict[str, Network] = {BASE: Network(self.network)}
        self._move_to_device()
        self._ready = Networks(self.network, self.device, self.networks)
        self._known: dict[str, dict[str, Tensor]] = {}
        self._truncated = 0
        factor = self._vae_factor() * self.patch
        if suite.resolution % factor:
            raise UsageError(f"resolution {suite.resolution} is not a multiple of {factor}: change it in the suite.")
        self.side = suite.resolution // self._vae_factor()

    @classmethod
    def load(cls, folder: Path, suite: Suite, device: str = "cpu") -> Any:
        """Load the folder; MissingError (damaged, incomplete, other family), UsageError (settings that cannot be)."""
        return cls(folder, suite, device)

    # --- loading

    def _check_family(self) -> None:
        found = family_of_index(self.index)
        if found is None and (self._network_folder() / "config.json").is_file():
            found = family_of_config(check_config(self._network_folder()))
        if found is None:
            there = [name for name in ("unet", "transformer") if base_folder(self.folder, name).is_dir()]
            found = family_of_config(check_config(base_folder(self.folder, there[0]))) if there else None
        if found not in (None, self.family):
            raise MissingError(
                f"{self.folder} is a pipeline of {TITLES[str(found)]}, but the suite says family '{self.family}' "
                f"({TITLES[self.family]}): set model.family = '{found}', or take other weights."
            )

    def _network_folder(self) -> Path:
        return base_folder(self.folder, self.network_part)

    def _load(self, name: str, kind: str) -> Any:
        folder = self.folder / name
        if name in self.optional_parts and not folder.is_dir():
            return None
        part = load_class(kind)
        if "tokenizer" in name:
            return load_tokenizer(part, folder)
        loaded = load_part(part, folder, self.dtype)
        if name == "vae" and self.dtype == torch.float16 and loaded.config.get("force_upcast"):
            loaded.float()  # as diffusers does: its activations overflow in float16
        return loaded

    def _assemble(self, loaded: Mapping[str, Any]) -> Any:
        """The diffusers pipeline of these parts; only its prompt encoding and helpers are used."""
        import diffusers

        scheduler = make_scheduler(self.scheduler_class, self.scheduler_config, self.sampler)
        with quiet():
            pipeline = getattr(diffusers, self._pipeline_name())
            parts = {**loaded, self.network_part: self.network, "scheduler": scheduler}
            known = {key: self.index[key] for key in ("force_zeros_for_empty_prompt",) if key in self.index}
            return pipeline(**parts, **accepted(pipeline.__init__, {**self.pipeline_options, **known}))

    def _pipeline_name(self) -> str:
        return self.pipeline_class

    def _move_to_device(self) -> None:
        for part in (self.vae, *self._encoders):
            part.to(self.device)
        self.vae.to(memory_format=torch.channels_last)
        self._shape_memory(self.network)

    def _shape_memory(self, module: Any) -> None:
        """Convolutions run 1.3 times as fast in this layout (CPU), and on tensor cores without transposing."""
        if self.network_part == "unet":
            module.to(memory_format=torch.channels_last)

    @property
    def unet(self) -> Any:
        """The base network, under the name that it has in Stable Diffusion."""
        return self.network

    def compile(self) -> None:
        """Compile the networks' forward pass: slower to start, faster afterwards; last bits may differ."""
        for module in {id(network.module): network.module for network in self.networks.values()}.values():
            module.compile()

    @property
    def latents_shape(self) -> tuple[int, ...]:
        """(C, H, W) of one sample's latents."""
        return (int(self.network.config.in_channels), self.side, self.side)

    def _vae_factor(self) -> int:
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def add_network(self, name: str, path: Path, scale: float = 1.0) -> None:
        """Load a tuned network or LoRA under `name`; MissingError if it is damaged or of another model."""
        if name not in self.networks:
            self._ready.residence.bring(self.network)
            network = load_tuned(path, self.network, self.dtype, f"tuned{len(self.networks)}", scale)
            self._shape_memory(network.module)
            self.networks[name] = network
            self._ready.loaded(network)

    def make_room(self) -> bool:
        """Move the networks that are not in use off the device; False if there was none."""
        return self._ready.residence.make_room()

    # --- prompts

    def prepare(self, prompts: Sequence[str]) -> None:
        """Encode all prompts now; afterwards the text encoders make room on a device with memory of its own."""
        self._encode_new(prompts)
        if self.device.type == "cuda":
            for encoder in self._encoders:
                encoder.to("cpu")

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Text states, first axis N; the empty prompt's have first axis 1. Prompts too long are cut, and it is said."""
        self._encode_new(prompts)
        rows = [self._known[text] for text in prompts]
        states = {name: torch.stack([row[name] for row in rows]).to(self.device) for name in rows[0]}
        return Conditioning(states, {name: row[None].to(self.device) for name, row in self._known[""].items()})

    def forget(self, most: int = 1024) -> None:
        """Drop the encoded prompts if there are more than `most`."""
        if len(self._known) > most:
            self._known.clear()

    def _encode_new(self, prompts: Sequence[str]) -> None:
        new = [text for text in dict.fromkeys(["", *prompts]) if text not in self._known]
        if not new:
            return
        for encoder in self._encoders:
            encoder.to(self.device)
        with torch.no_grad(), quiet():  # the pipeline's own warning about long texts names no prompt
            for text in new:
                states = self._encode_text(text) if text else self._encode_empty()
                # Kept in the host's memory: T5 states of a large prompt set would fill a device.
                self._known[text] = {name: state[0].cpu() for name, state in states.items()}
            self._say_what_is_cut(new)

    def _encode_text(self, text: str) -> dict[str, Tensor]:
        """The states of one prompt, each with first axis 1."""
        raise NotImplementedError

    def _encode_empty(self) -> dict[str, Tensor]:
        """What guidance leads away from."""
        return self._encode_text("")

    def _token_limit(self) -> int:
        """How many tokens the text encoder that reads most can read; it belongs to the last tokenizer."""
        return int(self.tokenizers[-1].model_max_length)

    def _say_what_is_cut(self, texts: Sequence[str]) -> None:
        limit = self._token_limit()
        longer = sum(len(self.tokenizers[-1](text).input_ids) > limit for text in texts)
        if longer:
            self._truncated += longer
            count = f"{self._truncated} prompt{'s are' if self._truncated > 1 else ' is'}"
            logger.warning(
                f"{count} longer than the {limit} tokens that the text encoder reads: the rest is cut.", extra=ONCE
            )

    # --- denoising

    def new_scheduler(self) -> Any:
        """The suite's scheduler with its timesteps set; UsageError for one that the loop cannot go through."""
        scheduler = make_scheduler(self.scheduler_class, self.scheduler_config, self.sampler)
        extra = accepted(scheduler.set_timesteps, self._timestep_options(scheduler))
        if extra.get("sigmas") is None:
            extra.pop("sigmas", None)
            extra["num_inference_steps"] = self.sampler.steps
        with quiet(), told(scheduler, self.sampler):
            scheduler.set_timesteps(device=self.device, **extra)
        check_calls_per_step(scheduler, self.sampler.steps)
        return scheduler

    def _timestep_options(self, scheduler: Any) -> dict[str, Any]:
        """What else the family's pipeline gives to `set_timesteps`, if the scheduler takes it."""
        return {}

    def predict(self, network: str, latents: Tensor, t: Tensor, cond: Conditioning, guidance: float) -> Tensor:
        """Prediction for scaled latents [N, ...]; with guidance > 1 both halves run as one batch of 2 N."""
        module = self._ready.ready(network)
        if guidance <= 1.0:
            return self._evaluate(module, latents, t, cond.states)
        both = {name: torch.cat([cond.empty[name].expand_as(state), state]) for name, state in cond.states.items()}
        times = torch.cat([t, t]) if t.ndim else t
        without, with_text = self._evaluate(module, torch.cat([latents, latents]), times, both).chunk(2)
        return without + guidance * (with_text - without)

    def _evaluate(self, module: Any, latents: Tensor, t: Tensor, states: Mapping[str, Tensor]) -> Tensor:
        """The network's output for each row alone, of the latents' shape; t is one time, or one a row."""
        raise NotImplementedError


def load_class(kind: str) -> Any:
    """The class that "module:name" says."""
    module, _, name = kind.partition(":")
    return getattr(importlib.import_module(module), name)
