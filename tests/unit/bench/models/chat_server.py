"""An OpenAI-compatible chat API in a thread: a judge of how red a picture is, which misbehaves as a test says."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tests.unit.bench.models.images_server import Answer, Body, ImagesServer, answer


def seen(body: Body) -> tuple[Image.Image, str]:
    """The picture and the text of a request."""
    picture, text = body["messages"][0]["content"]
    data = picture["image_url"]["url"].removeprefix("data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), text["text"]


def redness(body: Body) -> float:
    """The mean of the picture's red channel, in 0..1."""
    return float(np.asarray(seen(body)[0])[..., 0].mean()) / 255


def said(shares: dict[str, float] | None = None, text: str = "Yes", **choice: Any) -> Answer:
    """An answer in words, with the probabilities of its likeliest first tokens."""
    found: dict[str, Any] = {"index": 0, "finish_reason": "stop", "message": {"content": text}, **choice}
    if shares is not None:
        tokens = [{"token": token, "logprob": math.log(share) if share else -9999.0} for token, share in shares.items()]
        found["logprobs"] = {"content": [{"token": text, "logprob": -0.1, "top_logprobs": tokens}]}
    return answer(200, {"id": "1", "object": "chat.completion", "model": "tiny", "choices": [found]})


@dataclass
class ChatServer(ImagesServer):
    """`hook` sees every question, with the number of questions before it."""

    def post(self, body: Body) -> Answer:
        with self.lock:
            before = len(self.requests)
            self.requests.append(body)
        hook = self.hook
        return (hook(body, before) if hook is not None else None) or self.judged(body)

    def judged(self, body: Body) -> Answer:
        """p(Yes) rises with the share of red, which decides a multiple choice too; D is for much of it."""
        red, text = redness(body), seen(body)[1]
        if "A. " in text:
            letter = "B" if red < 0.25 else " A" if red < 0.6 else "D"
            return said({letter: 0.9, "E": 0.05})
        if "Alignment" in text:
            scores = f"Alignment Score (1-5): {1 + 4 * red:.2f}\nCoherence Score (1-5): 2\nStyle Score (1-5): 3"
            return said(text=scores)
        return said({"Yes": red / 2, " yes": red / 4, "No": 1 - red, "y": red / 8})
