"""A judge behind an OpenAI-compatible chat API that gives log-probabilities (vLLM, SGLang): the metrics' `url` option.

Who it is, is asked with GET /models and GET /version and goes into the card, so that values of another model are never
compared with its own; that it is still the same is asked after every group of images, before a value is kept. An API
gives the likeliest tokens alone, as text: what an answer has beyond them counts nothing.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from PIL import Image

from bench.errors import MissingError, UsageError
from bench.formatting import one_line
from bench.models.endpoint import Served, open_served
from bench.models.endpoint_http import Reply
from bench.models.endpoint_retry import asked
from bench.suite.served import EndpointSpec
from metrics.errors import BadInputError
from metrics.judge.judge import Choices, Judge

A = TypeVar("A")
T = TypeVar("T")

TOP = 20
"""The likeliest tokens that are asked for: what these servers give at most."""
_SLACK = 1e-3
"""How far above 0 a logarithm of a probability may be: rounding."""
_SHOWN = 120


class ServedJudge(Judge):
    """One model of one server. `concurrency` questions are under way at a time."""

    def __init__(self, served: Served) -> None:
        served.identify()
        self.served = served
        self._who = who = _who(served)
        settings = {
            "server": who,
            "resize": "the server's own",
            "image": "PNG, RGB",
            "chat_template": "the server's own",
            "message": "the image, then the text",
            "probability": f"sum over those of the {TOP} likeliest first tokens that are a spelling of the answer",
            "decoding": "temperature 0",
        }
        super().__init__(settings, {}, source=served.where)

    def check_probabilities(self) -> None:
        """Ask one question about a grey picture. Raises MissingError where the answer has no log-probabilities."""
        reply = self._reply(self._body(Image.new("RGB", (64, 64), "grey"), "Is this picture grey?", 1, logprobs=True))
        if not _likeliest(_choice(reply, self.served.where)):
            raise MissingError(
                f"{self.served.where} answers without log-probabilities, which this metric is made of: serve it with a "
                "program that gives logprobs and top_logprobs"
            )

    def check_same(self) -> None:
        """Raise MissingError where another model answers now than the one in the card."""
        fresh = Served(self.served.name, self.served.spec, self.served.client)
        try:
            fresh.identify()
        except UsageError as error:
            raise MissingError(f"{error}; the values until then are kept") from None
        if _who(fresh) != self._who:
            raise MissingError(
                f"{self.served.where} is another one now than at the start: it was restarted or replaced; the values "
                "until then are kept, and the same command makes all of them anew with the one that answers then"
            )

    def map(self, work: Callable[[A], T], items: Sequence[A]) -> list[T]:
        """`work` on each item, several at a time; then whether the server is still the same."""
        with ThreadPoolExecutor(self.served.spec.concurrency) as pool:
            found = list(pool.map(work, items))
        self.check_same()
        return found

    def _probabilities(self, key: str, image: Image.Image, question: str, choices: Choices) -> tuple[float, ...]:
        choice = self._answer(self._body(image, question, 1, logprobs=True))
        likeliest = _likeliest(choice)
        if not likeliest:
            raise BadInputError("the judge's answer has no log-probabilities")
        return tuple(_share(likeliest, spellings) for spellings in choices)

    def _text(self, image: Image.Image, question: str, most_tokens: int) -> str:
        content = self._answer(self._body(image, question, most_tokens)).get("message", {}).get("content")
        if not isinstance(content, str):
            raise BadInputError("the judge's answer has no text")
        return content

    def _body(self, image: Image.Image, question: str, most_tokens: int, logprobs: bool = False) -> dict[str, Any]:
        content = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_png(image)}"}},
            {"type": "text", "text": question},
        ]
        body = {
            "model": self.served.name,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": most_tokens,
            "temperature": 0,
        }
        return {**body, "logprobs": True, "top_logprobs": TOP} if logprobs else body

    def _answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The server's choice. BadInputError for a refusal, which is the reason of one image."""
        choice = _choice(self._reply(body), self.served.where)
        refusal = choice.get("message", {}).get("refusal")
        if refusal or choice.get("finish_reason") == "content_filter":
            said = one_line(str(refusal or "its filter of contents"))[:_SHOWN]
            raise BadInputError(f"the judge refuses to answer: {self.served.client.scrubbed(said)}")
        return choice

    def _reply(self, body: Mapping[str, Any]) -> Reply:
        served = self.served
        reply = asked(served.client, "POST", "/chat/completions", body)
        if reply.status == 200:
            return reply
        if why := served.refusal(reply):
            raise BadInputError(why)
        said = f"HTTP {reply.status}: {served.message(reply)}"
        if reply.status in (401, 403):
            variable = served.spec.api_key_env
            how = f"the key in {variable} is not accepted" if variable else "name the variable of the key: api_key_env"
            raise MissingError(f"{served.where} asks for an API key ({said}): {how}")
        if reply.status == 404:
            raise UsageError(f"{served.where} has no chat API ({said}): check url and model")
        raise MissingError(f"{served.where} fails ({said}): see the server's log")


def connect(options: Mapping[str, Any]) -> ServedJudge:
    """The judge that a metric's options name. Raises UsageError (options) or MissingError (no server, no key)."""
    model = options.get("model")
    if not isinstance(model, str) or not model:
        raise UsageError("a judge at a url needs the name of its model: options.model")
    given = {key: options[key] for key in ("url", "api_key_env") if options.get(key) is not None}
    try:
        spec = EndpointSpec.model_validate(given)
    except ValueError as error:
        reason = one_line(str(error).splitlines()[2] if len(str(error).splitlines()) > 2 else str(error))
        raise UsageError(f"options.url or options.api_key_env of the judge: {reason[:_SHOWN]}") from None
    return ServedJudge(open_served(model, spec))


def _who(served: Served) -> dict[str, Any]:
    return {key: served.facts[key] for key in ("name", "model", "version")}


def _png(image: Image.Image) -> str:
    with io.BytesIO() as stream:
        image.convert("RGB").save(stream, "PNG")
        return base64.b64encode(stream.getvalue()).decode()


def _choice(reply: Reply, where: str) -> dict[str, Any]:
    data = reply.json()
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise MissingError(f"{where} does not answer as a chat API does (no choices): check url and model")
    found: dict[str, Any] = choices[0]
    if not isinstance(found.get("message", {}), dict):
        raise MissingError(f"{where} does not answer as a chat API does (no message): check url and model")
    return found


def _likeliest(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The likeliest first tokens and their probabilities; none where the answer has none. BadInputError: nonsense."""
    try:
        tokens = choice["logprobs"]["content"][0]["top_logprobs"]
        found = [(str(one["token"]), float(one["logprob"])) for one in tokens]
    except (KeyError, IndexError, TypeError, ValueError):
        return []
    if any(not value <= _SLACK for _, value in found) or math.fsum(math.exp(value) for _, value in found) > 1 + _SLACK:
        raise BadInputError(f"the judge's log-probabilities are none: {json.dumps(found[:3])[:_SHOWN]}")
    return [(token, math.exp(value)) for token, value in found]


def _share(likeliest: Sequence[tuple[str, float]], spellings: Sequence[str]) -> float:
    return min(1.0, math.fsum(share for token, share in likeliest if token in spellings))
