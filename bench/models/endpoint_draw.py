"""One picture of a served model, or the reason why there is none: refused, no picture, lossy, or of another size."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import MissingError
from bench.models import endpoint_retry
from bench.models.endpoint import Drawing, Served
from bench.store.images import decode

if TYPE_CHECKING:
    from PIL.Image import Image

TRIES = 3
"""Of a request whose answer is a failure of the server, or no picture."""


@dataclass(frozen=True, slots=True)
class NoPicture:
    """Why a picture is not there, as the reason of its values. `refused`: the server said so of this request."""

    reason: str
    refused: bool = False


def draw(served: Served, prompt: str, seed: int, drawing: Drawing) -> Image | NoPicture:
    """The picture, RGB, of `drawing.size` x `drawing.size` pixels. Failures are asked again, with growing pauses.

    Raises MissingError where the server does not answer or turns everyone away, UsageError where it has no such API.
    """
    body, why = served.payload(prompt, seed, drawing), ""
    for attempt in range(TRIES):
        if attempt:
            served.client.stopped.wait(endpoint_retry.FIRST_WAIT * 2 ** (attempt - 1))
        try:
            reply = served.ask(body, drawing.size)
        except MissingError as error:
            if "API key" in str(error) or served.client.stopped.is_set():
                raise
            return NoPicture(f"no answer from the endpoint: {error}")
        if refusal := served.refusal(reply):
            return NoPicture(refusal, refused=True)
        if reply.status != 200:
            why = f"the endpoint failed (HTTP {reply.status}: {served.message(reply)})"
            continue
        found = picture_in(reply.json(), prompt, drawing.size)
        if not isinstance(found, str):
            return found
        why = f"the endpoint sent no usable picture: {found}"
    return NoPicture(why)


def picture_in(answer: object, prompt: str, size: int) -> Image | str:
    """The one picture in the body of an answer, or a clause that says what is there instead."""
    listed = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        return "the answer has no data"
    if len(listed) != 1 or not isinstance(listed[0], dict):
        return f"{len(listed)} pictures for n = 1"
    text, revised = listed[0].get("b64_json"), listed[0].get("revised_prompt")
    if revised not in (None, "", prompt):
        return "it is of a prompt that the server revised"
    if not isinstance(text, str):
        return "a link in place of a picture" if listed[0].get("url") else "no b64_json"
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return "b64_json is not valid base64"
    if not data.startswith(b"\x89PNG"):
        return "it is not a PNG file (a lossy format changes values)" if data else "it is empty"
    picture = decode(data)
    if isinstance(picture, str):
        return picture
    if picture.size != (size, size):
        return f"it has {picture.width} x {picture.height} pixels, asked for {size} x {size}"
    return picture.convert("RGB")
