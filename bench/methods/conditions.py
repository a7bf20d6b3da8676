"""Prompt conditions: negative prompt, rescaled guidance, skipped CLIP layers, textual inversion. Pure data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import UsageError
from bench.registry.families import family_row
from bench.runtime.log import ONCE, get_logger

logger = get_logger(__name__)

NAMES = ("negative_prompt", "guidance_rescale", "clip_skip", "embeddings")


@dataclass(frozen=True, slots=True)
class PromptConditions:
    """How prompts condition one side of a step, where that is not the pipeline's default.

    `negative_prompt` takes the place of the empty prompt in classifier-free guidance. `guidance_rescale`, in [0, 1],
    moves the standard deviation of the guided prediction towards that of the conditional one (Lin et al. 2024, arXiv
    2305.08891, section 3.4). `clip_skip` is the number of final CLIP layers that are left out of the prompt's states
    (not of the negative prompt's, as in diffusers). `embeddings` are (token, weights name) of textual inversions (Gal
    et al. 2022, arXiv 2208.01618).
    """

    negative_prompt: str | None = None
    guidance_rescale: float | None = None
    clip_skip: int | None = None
    embeddings: tuple[tuple[str, str], ...] = ()

    @property
    def given(self) -> dict[str, Any]:
        """What is set, by name: nothing where all is the pipeline's default."""
        values = {name: getattr(self, name) for name in NAMES}
        return {name: value for name, value in values.items() if value not in (None, ())}

    def on_side(self, guidance: float) -> PromptConditions:
        """Those that act on a side with this guidance: without any there is no negative prompt and no rescaling."""
        if guidance > 1.0:
            return self
        return PromptConditions(clip_skip=self.clip_skip, embeddings=self.embeddings)

    def identity(self, digests: Mapping[str, str]) -> dict[str, Any]:
        """What is set as plain JSON data, with the digests of embeddings in place of their weights names."""
        given = self.given
        if self.embeddings:
            given["embeddings"] = {token: digests[weights] for token, weights in self.embeddings}
        return given


def conditions_of(suite: Any, method: Any) -> PromptConditions:
    """The suite's conditions with the method's in their place, where it has its own. Embeddings are added up."""
    own = {name: getattr(method, name) for name in NAMES if name != "embeddings"}
    shared = {name: getattr(suite, name) for name in own}
    chosen = {name: shared[name] if value is None else value for name, value in own.items()}
    embeddings = {**dict(suite.embeddings), **dict(method.embeddings)}
    return PromptConditions(**chosen, embeddings=tuple(sorted(embeddings.items())))


def check_conditions(family: str, conditions: PromptConditions, guidances: Iterable[float], method: str) -> None:
    """UsageError for conditions that the family's pipeline has not, or that no side of the method can show."""
    row = family_row(family)
    known = row.conditions if row else ()  # a plug-in's pipeline is not known
    for name in conditions.given:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none of these settings"
            raise UsageError(
                f"method '{method}': {name} is not supported for models of family '{family}' ({has}): remove it from "
                "the suite or the call"
            )
    for token, _ in conditions.embeddings:
        if not token.strip() or token != token.strip():
            raise UsageError(f"method '{method}': the token of a textual inversion must be a word, got {token!r}")
    if not any(guidance > 1.0 for guidance in guidances):
        for name in ("negative_prompt", "guidance_rescale"):
            if getattr(conditions, name) is not None and getattr(conditions, name) != 0:
                logger.warning(f"method '{method}' runs without guidance: {name} has no effect on it", extra=ONCE)
