"""Between latents and pictures: decoding beside the next batch, and both ways with gradient for training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.models.base import BASE, Network
from bench.models.compiled import filled
from bench.runtime.devices import out_of_memory
from bench.runtime.threads import available_cores

DECODED_AT_ONCE = 2**22
"""Pixels that one call of the decoder makes: four images of 1024 x 1024; its activations are the largest there are."""


class Pictures:
    """The autoencoder's side of a model, as diffusers' pipelines use it."""

    vae: Any
    device: torch.device
    dtype: torch.dtype
    resolution: int
    networks: dict[str, Network]
    is_compiled: bool = False
    _largest_decoded: int = 0

    def vae_of(self, network: str) -> Any:
        """The autoencoder that decodes what this network finished: its own if it brought one, else the base's."""
        known = self.networks.get(network)
        return self.vae if known is None or known.vae is None else known.vae

    def decode(self, latents: Tensor, network: str = BASE) -> Tensor:
        """Latents [N, ...] -> uint8 [N, 3, H, W] on the CPU, rounded as diffusers' image processor rounds.

        `network` is the one that the last step ran; of two, the tuned one. Raises UsageError if values are NaN or
        infinite.
        """
        levels, finite = self._levels(latents, self.vae_of(network))
        return self._checked(levels.cpu(), finite)

    def decoding(self, latents: Tensor, network: str = BASE) -> Callable[[], Tensor]:
        """Begin to decode. On CUDA the work is queued here, and the wait happens in the function.

        Elsewhere all happens there, so that it runs beside the next batch, if there are cores for both; two threads
        that share a core would slow each other down more than they gain, so otherwise all happens here. A subclass with
        a `decode` of its own is decoded by that.
        """
        if self.device.type != "cuda" or type(self).decode is not Pictures.decode:
            # A family of one's own may have a `decode` of the latents alone.
            more = {} if self.vae_of(network) is self.vae else {"network": network}
            if self.device.type == "cpu" and available_cores() < 2 * torch.get_num_threads():
                pixels = self.decode(latents, **more)
                return lambda: pixels
            return lambda: self.decode(latents, **more)
        levels, finite = self._levels(latents, self.vae_of(network))
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(self.device))
        return lambda: self._checked(_fetch(levels, done), _fetch(finite, done))

    @torch.inference_mode()
    def _levels(self, latents: Tensor, vae: Any) -> tuple[Tensor, Tensor]:
        """uint8 [N, 3, H, W], and for each image whether all its values were numbers, bool [N]."""
        at_once = max(1, DECODED_AT_ONCE // self.resolution**2)
        while True:
            try:
                parts = [self._some_levels(some, vae) for some in latents.split(at_once)]
                return torch.cat([levels for levels, _ in parts]), torch.cat([finite for _, finite in parts])
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                # The decoder's activations are the largest: fewer at a time cost nothing of what is already denoised.
                at_once = min(at_once, len(latents)) // 2
                self._largest_decoded = 0
                if at_once == 0:
                    raise

    def _some_levels(self, latents: Tensor, vae: Any) -> tuple[Tensor, Tensor]:
        count = len(latents)
        if self.is_compiled:
            self._largest_decoded = max(self._largest_decoded, count)
        rows = filled(latents, self._largest_decoded)
        pixels = self._decoded(rows, vae)[:count]
        # The latents as well: an autoencoder may turn infinity into a number.
        finite = pixels.isfinite().flatten(1).all(1) & latents.isfinite().flatten(1).all(1)
        return torch.as_tensor((pixels * 0.5 + 0.5).clamp(0, 1).float() * 255).round().to(torch.uint8), finite

    def _checked(self, levels: Tensor, finite: Tensor) -> Tensor:
        """The images, unless some are of values that are no numbers: cast to uint8 they would pass as black ones."""
        broken = len(finite) - int(finite.sum())
        if not broken:
            return levels
        advice = "check the weights and the scheduler settings (the dtype has enough range)"
        if torch.float16 in (self.dtype, self.vae.dtype):
            advice = "float16 overflows beyond 65504: use --dtype bfloat16 or float32"
        raise UsageError(
            f"{broken} of {len(finite)} images contain NaN or infinite values and were not saved: {advice}"
        )

    def decode_pixels(self, latents: Tensor) -> Tensor:
        """Latents [N, ...] -> float pixels [N, 3, H, W] in [0, 1], with gradient: for training."""
        pixels = self._decoded(latents, self.vae)
        return (pixels * 0.5 + 0.5).clamp(0, 1).float()

    @torch.no_grad()
    def encode_pixels(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Float pixels [N, 3, H, W] in [-1, 1] -> float32 latents [N, ...], drawn from the encoder's posterior."""
        return self._scaled(self._encoded(pixels.to(self.device, self.vae.dtype), generator)).float()

    def _encoded(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """What the encoder gives for these pixels, drawn from its posterior."""
        return torch.as_tensor(self.vae.encode(pixels).latent_dist.sample(generator))

    def _decoded(self, latents: Tensor, vae: Any) -> Tensor:
        """The decoder's pixels [N, 3, H, W] in [-1, 1] for the network's latents."""
        return torch.as_tensor(vae.decode(self._unscaled(latents, vae).to(vae.dtype), return_dict=False)[0])

    def _scaled(self, encoded: Tensor) -> Tensor:
        """What the encoder gives as the network's latents: the inverse of `_unscaled`."""
        shift = self.vae.config.get("shift_factor")
        scaled: Tensor = (encoded if shift is None else encoded - shift) * self.vae.config.scaling_factor
        return scaled

    def _unscaled(self, latents: Tensor, vae: Any = None) -> Tensor:
        """What the decoder takes: (latents / scale + shift) for the autoencoders that have a shift."""
        vae = vae or self.vae
        shift = vae.config.get("shift_factor")
        unscaled: Tensor = latents / vae.config.scaling_factor
        return unscaled if shift is None else unscaled + shift


def _fetch(levels: Tensor, done: torch.cuda.Event) -> Tensor:
    """Copy to the host on a stream of its own, so that the wait is for the decoder and not for the next batch."""
    stream = torch.cuda.Stream(levels.device)
    with torch.cuda.stream(stream):
        stream.wait_event(done)
        host = torch.empty(levels.shape, dtype=levels.dtype, pin_memory=True)
        host.copy_(levels, non_blocking=True)
        levels.record_stream(stream)
    stream.synchronize()
    return host
