"""Stable Diffusion 1.x and 2.x, and what is built like them: a diffusers folder of unet, vae and CLIP text encoder."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.errors import MissingError, UsageError, suggest, unknown
from bench.log import note
from bench.models.base import BASE, Conditioning, Network
from bench.models.checkpoints import load_tuned
from bench.models.loading import DTYPES, check_config, load_part, quiet

if TYPE_CHECKING:
    from bench.suite import Suite

ENCODE_BATCH = 1
"""Prompts encoded together: one, so that a prompt's states do not depend on which others a run has."""


class StableDiffusion:
    """The parts of a `StableDiffusionPipeline` folder; same arithmetic as diffusers' pipeline of that name.

    Whether the network predicts noise or velocity is the scheduler's business. Guidance is classifier-free (Ho and
    Salimans 2022, arXiv 2207.12598, in Imagen's parametrisation: 1 means none).
    """

    def __init__(self, folder: Path, suite: Suite, device: str = "cpu") -> None:
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel

        if suite.dtype not in DTYPES:
            raise unknown("dtype", suite.dtype, DTYPES)
        self.device, self.dtype = torch.device(device), DTYPES[suite.dtype]
        self.folder = folder
        check_config(folder, "model_index.json")
        self.scheduler_config = check_config(folder / "scheduler", "scheduler_config.json")
        self.unet: Any = load_part(UNet2DConditionModel, folder / "unet", self.dtype).to(self.device)
        self.vae: Any = load_part(AutoencoderKL, folder / "vae", self.dtype).to(self.device)
        for part in (self.unet, self.vae):
            part.to(memory_format=torch.channels_last)  # 1.3 times as fast on CPU
        self.text_encoder: Any = load_part(CLIPTextModel, folder / "text_encoder", self.dtype).to(self.device)
        self.tokenizer = _load_tokenizer(folder / "tokenizer")
        self.sampler = suite.sampler
        self.scheduler_class = _scheduler_class(suite.sampler.scheduler, suite.sampler.options)
        self.networks: dict[str, Network] = {BASE: Network(self.unet)}
        self._active: str | None = None  # the adapter switched on in the base network
        self._known: dict[str, Tensor] = {}
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        if suite.resolution % factor:
            raise UsageError(f"resolution {suite.resolution} is not a multiple of {factor}: change it in the suite.")
        self._side = suite.resolution // factor
        self._truncated = 0

    @classmethod
    def load(cls, folder: Path, suite: Suite, device: str = "cpu") -> StableDiffusion:
        """Load the folder; MissingError (damaged or incomplete folder), UsageError (settings that cannot be)."""
        return cls(folder, suite, device)

    @property
    def latents_shape(self) -> tuple[int, ...]:
        """(C, H, W) of one sample's latents."""
        return (int(self.unet.config.in_channels), self._side, self._side)

    def add_network(self, name: str, path: Path) -> None:
        """Load a tuned UNet or LoRA under `name`; MissingError if it is damaged or of another model."""
        if name not in self.networks:
            network = load_tuned(path, self.unet, self.dtype, adapter=f"tuned{len(self.networks)}")
            network.module.to(self.device).to(memory_format=torch.channels_last)
            self.networks[name] = network
            if network.adapter is not None:
                self._active = network.adapter  # loading switches it on

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Text states [N, L, D]; the empty prompt's are [1, L, D]. Prompts too long are cut, and it is said."""
        new = [text for text in dict.fromkeys(["", *prompts]) if text not in self._known]
        before = self._truncated
        for start in range(0, len(new), ENCODE_BATCH):
            self._encode(new[start : start + ENCODE_BATCH])
        if self._truncated > before:
            limit = self.tokenizer.model_max_length
            count = f"{self._truncated} prompt{'s are' if self._truncated > 1 else ' is'}"
            note(f"{count} longer than the {limit} tokens that the text encoder reads: the rest is cut.", once=True)
        states = torch.stack([self._known[text] for text in prompts])
        return Conditioning({"text": states}, {"text": self._known[""].unsqueeze(0)})

    @torch.inference_mode()
    def _encode(self, texts: list[str]) -> None:
        limit = self.tokenizer.model_max_length
        tokens = self.tokenizer(texts, padding="max_length", max_length=limit, truncation=True, return_tensors="pt")
        with quiet():  # the tokenizer's own warning about long texts names no prompt
            lengths = [len(ids) for ids in self.tokenizer(texts).input_ids]
        self._truncated += sum(length > limit for length in lengths)
        mask = tokens.attention_mask if getattr(self.text_encoder.config, "use_attention_mask", False) else None
        ids = tokens.input_ids.to(self.device)
        states = self.text_encoder(ids, attention_mask=None if mask is None else mask.to(self.device))[0]
        self._known.update(zip(texts, states.to(self.dtype), strict=True))

    def new_scheduler(self) -> Any:
        """The suite's scheduler with its timesteps set."""
        with quiet():
            scheduler = self.scheduler_class.from_config(self.scheduler_config, **self.sampler.options)
            scheduler.set_timesteps(self.sampler.steps, device=self.device)
        return scheduler

    def predict(self, network: str, latents: Tensor, t: Tensor, cond: Conditioning, guidance: float) -> Tensor:
        """Prediction for scaled latents [N, C, H, W]; with guidance > 1 both halves run as one batch of 2 N."""
        module: Any = self._switch_to(network)
        text = cond.states["text"]
        if guidance <= 1.0:
            alone: Tensor = module(latents, t, encoder_hidden_states=text, return_dict=False)[0]
            return alone
        both = torch.cat([cond.empty["text"].expand_as(text), text])
        output = module(torch.cat([latents, latents]), t, encoder_hidden_states=both, return_dict=False)[0]
        without, with_text = output.chunk(2)
        guided: Tensor = without + guidance * (with_text - without)
        return guided

    def _switch_to(self, name: str) -> Any:
        """The module of a network, with exactly its adapter on."""
        network = self.networks[name]
        module: Any = network.module
        if module is self.unet and network.adapter != self._active:
            if network.adapter is None:
                module.disable_adapters()
            else:
                module.enable_adapters()
                module.set_adapter(network.adapter)
            self._active = network.adapter
        return module

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [N, C, H, W] -> uint8 [N, 3, H, W] on the CPU, rounded as diffusers' image processor rounds."""
        pixels = self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0]
        levels: Tensor = ((pixels * 0.5 + 0.5).clamp(0, 1).float() * 255).round().to(torch.uint8)
        return levels.cpu()


def _load_tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    if not folder.is_dir():
        raise MissingError(f"{folder} is missing: {folder.parent} is not a complete diffusers folder.")
    try:
        with quiet():
            tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # whatever the library raises, the folder is what is wrong
        reason = str(error).strip().splitlines()[0][:160]
        raise MissingError(f"{folder} cannot be loaded as a CLIPTokenizer ({reason}): get it again.") from error
    return tokenizer


def _scheduler_class(name: str, options: dict[str, Any]) -> Any:
    """A scheduler class of diffusers; UsageError for an unknown name or an option it does not have."""
    import diffusers

    known = [item for item in dir(diffusers) if item.endswith("Scheduler") and not item.startswith("Flax")]
    if name not in known:
        raise UsageError(f"unknown scheduler '{name}' in the suite's sampler.{suggest(name, known)}")
    found = getattr(diffusers, name)
    settings = [key for key in inspect.signature(found.__init__).parameters if key != "self"]
    for key in options:
        if key not in settings:
            raise UsageError(f"{name} has no option '{key}' (sampler.options).{suggest(key, settings)}")
    return found
