"""What all families share: parts loaded from a folder, prompts encoded once, guidance, networks, decoding."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from bench.errors import MissingError, UsageError, unknown
from bench.models.base import BASE, Network, TextSide
from bench.models.checkpoints import load_tuned
from bench.models.compiled import compile_networks
from bench.models.decoding import Pictures
from bench.models.derived import Derived
from bench.models.encoding import PromptEncoding
from bench.models.families import TITLES, base_folder
from bench.models.guided import Guided
from bench.models.loading import check_config, dtypes, load_tokenizer, quiet
from bench.models.lora import AdapterOptions, without_text
from bench.models.networks import Networks
from bench.models.own_parts import check_parameterisation, own_parts
from bench.models.parts import load_part
from bench.models.recognise import family_of_pipeline, read_index
from bench.models.schedulers import accepted, check_calls_per_step, make_scheduler, scheduler_class, told
from bench.models.single_file import build_part, parts_of_file
from bench.models.states import KnownStates
from bench.runtime.log import ONCE, get_logger

if TYPE_CHECKING:
    from bench.suite.schema import Suite

logger = get_logger(__name__)


class PipelineModel(Guided, Derived, PromptEncoding, Pictures):
    """The parts of a diffusers pipeline folder, with the arithmetic of the pipeline's own `__call__`.

    Prompts are encoded by the pipeline's own `encode_prompt`, one at a time, so that a prompt's states do not depend on
    which others a run has. Whether a network predicts noise, velocity or flow is the scheduler's business.
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
    latents_dtype: ClassVar[torch.dtype | None] = None
    """What the sampler keeps latents in where that is not the network's dtype."""

    def __init__(self, folder: Path, suite: Suite, device: str = "cpu") -> None:
        if suite.dtype not in dtypes():
            raise unknown("dtype", suite.dtype, dtypes())
        self.device, self.dtype = torch.device(device), dtypes()[suite.dtype]
        self.folder, self.sampler, self.resolution = folder, suite.sampler, suite.resolution
        self.index = read_index(folder)
        self._check_family()
        self.scheduler_config = check_config(folder / "scheduler", "scheduler_config.json")
        self.scheduler_class = scheduler_class(suite.sampler.scheduler, suite.sampler.options)
        self.network: Any = load_part(load_class(self.network_class), self._network_folder(), self.dtype)
        self._loaded = {name: self._load(name, kind) for name, kind in self.parts.items()}
        self.vae: Any = self._loaded["vae"]
        self.text = self._text_side(self._loaded)
        self.pipeline = self.text.pipeline
        self.networks: dict[str, Network] = {BASE: Network(self.network)}
        self._move_to_device()
        self._ready = Networks(self.network, self.device, self.networks)
        self._truncated = 0
        self._constants = {}
        self._sides_made: dict[Any, TextSide] = {}
        factor = self._vae_factor() * self.patch
        if suite.resolution % factor:
            raise UsageError(f"resolution {suite.resolution} is not a multiple of {factor}: change it in the suite")
        self.side = suite.resolution // self._vae_factor()

    @classmethod
    def load(cls, folder: Path, suite: Suite, device: str = "cpu") -> Any:
        """Load the folder; MissingError (damaged, incomplete, other family), UsageError (settings that cannot be)."""
        return cls(folder, suite, device)

    # --- loading

    def _check_family(self) -> None:
        found = family_of_pipeline(self.folder, self.index, self.network_part)
        if found not in (None, self.family):
            raise MissingError(
                f"{self.folder} is a pipeline of {TITLES[str(found)]}, but the suite has family '{self.family}' "
                f"({TITLES[self.family]}): set model.family = '{found}', or use other weights"
            )

    def _network_folder(self) -> Path:
        return base_folder(self.folder, self.network_part)

    def _load(self, name: str, kind: str, root: Path | None = None) -> Any:
        folder = (root or self.folder) / name
        if name in self.optional_parts and not folder.is_dir():
            return None
        part = load_class(kind)
        if "tokenizer" in name:
            return load_tokenizer(part, folder)
        loaded = load_part(part, folder, self.dtype)
        if name == "vae" and self.dtype == torch.float16 and loaded.config.get("force_upcast"):
            loaded.float()  # as diffusers does: its activations overflow in float16
        return loaded

    def _text_side(self, loaded: Mapping[str, Any], clip_skip: int | None = None) -> TextSide:
        """The prompts' side of these parts."""
        encoders = [part for name, part in loaded.items() if "text_encoder" in name and part is not None]
        tokenizers = [part for name, part in loaded.items() if "tokenizer" in name and part is not None]
        return TextSide(self._assemble(loaded), encoders, tokenizers, clip_skip, parts=loaded)

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
        self.text.to(self.device)
        self._place_vae(self.vae)
        self._shape_memory(self.network)

    def _place_vae(self, vae: Any) -> None:
        vae.to(self.device)
        vae.to(memory_format=torch.channels_last)

    def _shape_memory(self, module: Any) -> None:
        """Convolutions run 1.3 times as fast in this layout (CPU), and on tensor cores without transposing."""
        if self.network_part == "unet":
            module.to(memory_format=torch.channels_last)

    @property
    def unet(self) -> Any:
        """The base network, under the name that it has in Stable Diffusion."""
        return self.network

    def compile(self) -> None:
        """Compile networks and decoders (`bench.models.compiled`): slower to start, faster afterwards; bits differ."""
        if not self.is_compiled:
            decoders = [self.vae, *(network.vae for network in self.networks.values() if network.vae is not None)]
            compile_networks([network.module for network in self.networks.values()], [one.decoder for one in decoders])
            self.is_compiled = True

    @property
    def latents_shape(self) -> tuple[int, ...]:
        """(C, H, W) of one sample's latents."""
        return (int(self.network.config.in_channels), self.side, self.side)

    def _vae_factor(self) -> int:
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def add_network(self, name: str, path: Path, scale: float = 1.0, ignore_text: bool = False) -> None:
        """Load a tuned network or LoRA under `name`; MissingError if it is damaged or of another model.

        Of a LoRA that tunes text encoders too, prompts of its side are encoded with it, unless `ignore_text` leaves
        that out. Of a full pipeline its own text encoders and autoencoder come with it, if they are not the base's.
        """
        if name in self.networks:
            return
        check_parameterisation(path, self.folder, self.sampler.options)
        self._ready.residence.bring(self.network)
        options, adapter = AdapterOptions.of(self._loaded, scale, ignore_text), f"tuned{len(self.networks)}"
        network = load_tuned(path, self.network, self.dtype, adapter, options)
        self._shape_memory(network.module)
        if network.text_adapter is not None:
            network.text = dataclasses.replace(
                self.text, adapter=network.text_adapter, known=KnownStates(), negatives={}, counted=set()
            )
        self._bring_own_parts(network, path, ignore_text)
        self.networks[name] = network
        self._ready.loaded(network)

    def _bring_own_parts(self, network: Network, path: Path, ignore_text: bool) -> None:
        dtype = next(key for key, value in dtypes().items() if value == self.dtype)
        names = without_text(path, own_parts(path, self.folder, self.parts, dtype), ignore_text)
        if not names:
            return
        own = {name: self._load_own(name, path) for name in names}
        if "vae" in own:
            network.vae = own.pop("vae")
            self._place_vae(network.vae)
        if own:
            network.text = self._text_side({**self._loaded, **own, **self._own_tokenizers(own, path)})
        logger.warning(
            f"{path} contains its own {' and '.join(names)}; using them for its side of each step", extra=ONCE
        )

    def _load_own(self, name: str, path: Path) -> Any:
        if path.is_dir():
            return self._load(name, self.parts[name], path)
        tensors = parts_of_file(path, self.parts, self.folder).tensors(name)
        return build_part(self._loaded[name], tensors, self.dtype, f"the {name} in {path}")

    def _own_tokenizers(self, own: Mapping[str, Any], path: Path) -> dict[str, Any]:
        wanted = [name.replace("text_encoder", "tokenizer") for name in own]
        return {name: self._load(name, self.parts[name], path) for name in wanted if (path / name).is_dir()}

    def use_steps(self, steps: int) -> None:
        """Take this many denoising steps from now on."""
        if steps != self.sampler.steps:
            self.sampler = self.sampler.model_copy(update={"steps": steps})

    def make_room(self) -> bool:
        """Move the networks that are not in use off the device; False if there was none."""
        self._largest_batch = self._largest_decoded = 0  # what was too large is not filled up to again
        return self._ready.residence.make_room()

    # --- denoising

    def new_scheduler(self) -> Any:
        """The suite's scheduler with its timesteps set; UsageError for one that the loop cannot go through."""
        scheduler = make_scheduler(self.scheduler_class, self.scheduler_config, self.sampler)
        extra = accepted(scheduler.set_timesteps, self._timestep_options(scheduler))
        if extra.get("sigmas") is None:
            extra.pop("sigmas", None)
            extra["num_inference_steps"] = self.sampler.steps
        with quiet(), told(scheduler, self.sampler):
            # On the CPU: schedulers look up where they are by comparing timesteps, and a device would be waited for.
            scheduler.set_timesteps(device="cpu", **extra)
        check_calls_per_step(scheduler, self.sampler.steps)
        return scheduler

    def _timestep_options(self, scheduler: Any) -> dict[str, Any]:
        """What else the family's pipeline gives to `set_timesteps`, if the scheduler takes it."""
        return {}


def load_class(kind: str) -> Any:
    """The class that "module:name" says."""
    module, _, name = kind.partition(":")
    return getattr(importlib.import_module(module), name)
