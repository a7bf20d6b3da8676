"""Prompts to states: each distinct prompt once by each distinct set of text encoders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from bench.models.base import Conditioning, Network, TextSide
from bench.models.loading import quiet
from bench.models.networks import AdapterSwitch
from bench.models.states import States, device_bytes
from bench.runtime.devices import sent
from bench.runtime.log import ONCE, get_logger

logger = get_logger(__name__)


@contextlib.contextmanager
def adapted(side: TextSide) -> Iterator[None]:
    """With the side's adapter on; afterwards the encoders are the base model's again, to the bit."""
    switches = [AdapterSwitch(encoder) for encoder in side.encoders] if side.adapter is not None else []
    for switch in switches:
        switch.to(side.adapter)
    try:
        yield
    finally:
        for switch in switches:
            switch.to(None)


class PromptEncoding:
    """The text encoders' side of a model: its own, and those that single networks bring with them."""

    device: torch.device
    networks: dict[str, Network]
    text: TextSide
    _truncated: int
    _coming: Sequence[str] = ()
    _states_at: torch.device = torch.device("cpu")

    @property
    def tokenizers(self) -> list[Any]:
        """The base model's tokenizers, in the order of its parts."""
        return self.text.tokenizers

    def prepare(self, prompts: Sequence[str]) -> None:
        """Say which prompts are longer than the encoders read; on CUDA, encode ahead as many as may be kept.

        There the encoders make room afterwards, and states lie on the device if those of all prompts fit
        (`bench.models.states`). Elsewhere prompts are encoded when their batch is made, which costs the same.
        """
        self._coming = list(dict.fromkeys(prompts))
        for side in self._sides():
            self._say_what_is_cut(side, self._coming)
        if self._is_ahead():
            self._encode_new(self._coming[:1])
            sides = self._sides()
            if sum(side.known.bytes for side in sides) * len(self._coming) <= device_bytes(self.device):
                self._states_at = self.device
                for side in sides:
                    side.known.clear()
            self._encode_new(self._coming[:1])

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Text states, first axis N; the empty prompt's have first axis 1. Prompts too long are cut, and it is said.

        Networks with text encoders or a negative prompt of their own find theirs in `Conditioning.own`.
        """
        self._encode_new(prompts)
        base = self._states(self.text, None, prompts)
        own = {
            name: self._states(network.text or self.text, network.negative_prompt, prompts)
            for name, network in self.networks.items()
            if network.text is not None or network.negative_prompt is not None
        }
        return Conditioning(base.states, base.empty, own)

    def forget(self, most: int = 1024) -> None:
        """Drop the encoded prompts if there are more than `most`."""
        for side in self._sides():
            if len(side.known) > most:
                side.known.clear()

    def _sides(self) -> list[TextSide]:
        own = [network.text for network in self.networks.values() if network.text is not None]
        return list({id(side): side for side in [self.text, *own]}.values())

    def _states(self, side: TextSide, negative: str | None, prompts: Sequence[str]) -> Conditioning:
        known = {text: side.known[text] for text in dict.fromkeys(prompts)}
        rows = self._stacked([known[text] for text in prompts])
        states = {name: sent(state, self.device) for name, state in rows.items()}
        empty = {name: sent(row[None], self.device) for name, row in side.negatives[negative].items()}
        return Conditioning(states, empty)

    def _stacked(self, rows: Sequence[States]) -> States:
        """The states of several prompts with first axis N."""
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _encode_new(self, prompts: Sequence[str]) -> None:
        wanted: list[tuple[TextSide, str | None]] = [(self.text, None)]
        wanted += [(network.text or self.text, network.negative_prompt) for network in self.networks.values()]
        for side in self._sides():
            distinct = list(dict.fromkeys(prompts))
            new = [text for text in distinct if text not in side.known]
            negatives = dict.fromkeys(text for owner, text in wanted if owner is side)
            missing = [text for text in negatives if text not in side.negatives]
            if new or missing:
                self._encode_with(side, new, missing, distinct)

    def _encode_with(
        self, side: TextSide, texts: Sequence[str], negatives: Sequence[str | None], needed: Sequence[str]
    ) -> None:
        side.to(self.device)
        with torch.no_grad(), quiet(), adapted(side):  # the pipeline's own warning about long texts names no prompt
            for text in texts:
                side.known.put(text, self._kept(self._encode_text(side, text)), needed)
            for negative in negatives:
                side.negatives[negative] = self._kept(self._encode_negative(side, negative))
            if texts and self._is_ahead():
                self._encode_ahead(side, needed)
            self._say_what_is_cut(side, [*texts, *(text for text in negatives if text)])
        if self._is_ahead():
            side.to("cpu")

    def _is_ahead(self) -> bool:
        """Whether prompts are encoded before they are needed, so that the encoders need not stay on the device."""
        return self.device.type == "cuda" and bool(self._coming)

    def _encode_ahead(self, side: TextSide, texts: Sequence[str]) -> None:
        """Encode what comes behind these prompts until no more may be kept; those that were before them are used up."""
        place = {text: index for index, text in enumerate(self._coming)}
        behind = max((place[text] for text in texts if text in place), default=len(place)) + 1
        if not side.known.fits_another():
            for text in side.known.texts():
                if text not in texts and place.get(text, 0) < behind:
                    side.known.drop(text)
        for text in self._coming[behind:]:
            if not side.known.fits_another():
                break
            if text not in side.known:
                side.known.put(text, self._kept(self._encode_text(side, text)), texts)

    def _kept(self, states: States) -> States:
        """The states of one prompt as they are kept, without the axis N."""
        return {name: state[0].to(self._states_at) for name, state in states.items()}

    def _encode_text(self, side: TextSide, text: str) -> States:
        """The states of one prompt, each with first axis 1."""
        raise NotImplementedError

    def _encode_negative(self, side: TextSide, text: str | None) -> States:
        """What guidance leads away from, each with first axis 1; None is the pipeline's default."""
        return self._encode_text(side, text or "")

    def _token_limit(self) -> int:
        """How many tokens the text encoder that reads most can read; it belongs to the last tokenizer."""
        return int(self.tokenizers[-1].model_max_length)

    def _say_what_is_cut(self, side: TextSide, texts: Sequence[str]) -> None:
        if side is not self.text and side.tokenizers[-1] is self.tokenizers[-1]:
            return  # the same prompts, counted for the base model already
        limit = self._token_limit()
        new = [text for text in texts if text not in side.counted]
        side.counted.update(new)
        longer = sum(len(side.tokenizers[-1](text).input_ids) > limit for text in new)
        if longer:
            self._truncated += longer
            count = f"{self._truncated} prompt{'s are' if self._truncated > 1 else ' is'}"
            logger.warning(
                f"{count} longer than the text encoder's limit of {limit} tokens; the rest is truncated", extra=ONCE
            )
