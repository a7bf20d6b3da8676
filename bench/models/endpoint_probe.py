"""What a server does with a request: whether it draws the same again, alone and beside others, and heeds what is asked.

Engines that batch requests sum in another order when the batch is another one, so the same seed need not give the same
bits; and parameters that a server does not know are ignored without a word. Both are found out by asking for pictures.
"""

from __future__ import annotations

import dataclasses
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import MissingError, UsageError
from bench.models.endpoint import Drawing, Served
from bench.models.endpoint_draw import NoPicture, draw

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPT = "a photograph of a red apple and a green bottle on a wooden table"
SEED, OTHER_SEED = 1_234_567, 7_654_321
_SAME = 0.5
"""Two pictures of one seed must be nearer than this share of the distance of two of different seeds."""
_Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found. `pixels` is the sha256 of the first picture's, by which a later call knows the server again."""

    alone: bool
    in_batch: bool
    pixels: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data for the manifest."""
        return {"deterministic": {"alone": self.alone, "in_batch": self.in_batch}, "pixels": self.pixels}


def probe(served: Served, drawing: Drawing) -> Probe:
    """Ask for the same picture twice alone and twice among others, then with each setting changed.

    Raises UsageError for a server that ignores the seed, the steps, the guidance or the negative prompt, or that gives
    no picture of the size that is asked for; MissingError where it does not answer.
    """
    first, again = _picture(served, drawing), _picture(served, drawing)
    with ThreadPoolExecutor(4, thread_name_prefix="probe") as pool:
        seeds = (SEED, OTHER_SEED, SEED, OTHER_SEED + 1)
        burst = list(pool.map(lambda seed: _picture(served, drawing, seed), seeds))
    noise = max(_distance(first, again), _distance(first, burst[0]), _distance(first, burst[2]))
    other = _distance(first, burst[1])
    if other == 0.0 or noise >= _SAME * other:
        why = "two seeds give one picture" if other == 0.0 else "one seed gives pictures as different as two seeds do"
        raise UsageError(f"{served.where} ignores seed: {why}. Samples and pairs mean nothing with it.")
    for parameter, changed in _changes(served, drawing).items():
        if _distance(first, _picture(served, changed)) <= noise:
            raise UsageError(
                f"{served.where} ignores {parameter}: the picture stays the same when it changes, so that it is not "
                f"what the suite asks for{_advice(parameter)}"
            )
    in_batch = all(_distance(first, one) == 0.0 for one in (burst[0], burst[2]))
    return Probe(_distance(first, again) == 0.0, in_batch, _digest(first))


def known_again(served: Served, drawing: Drawing) -> str:
    """sha256 of the pixels of the picture that `probe` takes first."""
    return _digest(_picture(served, drawing))


def _changes(served: Served, drawing: Drawing) -> dict[str, Drawing]:
    """The same request with one parameter changed, by the parameter; within what servers allow."""
    steps = drawing.steps // 2 if drawing.steps > 1 else 2
    found = {"num_inference_steps": dataclasses.replace(drawing, steps=steps)}
    if served.spec.guidance_as != "none":
        guidance = 1.0 + (drawing.guidance - 1.0) / 2 if drawing.guidance > 1.0 else 4.0
        found[served.spec.guidance_as] = dataclasses.replace(drawing, guidance=guidance)
    if drawing.negative_prompt and drawing.guidance > 1.0:
        found["negative_prompt"] = dataclasses.replace(drawing, negative_prompt=None)
    return found


def _advice(parameter: str) -> str:
    if parameter in ("guidance_scale", "true_cfg_scale"):
        other = "true_cfg_scale" if parameter == "guidance_scale" else "guidance_scale"
        return f": try endpoint.guidance_as = '{other}', or 'none' with guidance 1 for a model without guidance"
    return ""


def _picture(served: Served, drawing: Drawing, seed: int = SEED) -> _Pixels:
    found = draw(served, PROMPT, seed, drawing)
    if not isinstance(found, NoPicture):
        return _pixels(found)
    error = UsageError if found.refused or "no usable picture" in found.reason else MissingError
    raise error(f"{served.where} cannot be used: the first request, for a harmless picture, failed: {found.reason}")


def _pixels(picture: Image) -> _Pixels:
    return np.asarray(picture)


def _distance(one: _Pixels, other: _Pixels) -> float:
    """Mean absolute difference, in steps of 8 bits."""
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())


def _digest(pixels: _Pixels) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()
