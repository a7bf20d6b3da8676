"""A model behind an OpenAI-compatible images API (vLLM-Omni, SGLang): who it is, and one picture of it at a time.

A model is named as the server serves it, "NAME", at the suite's address, or "NAME@http://host:port/v1" at its own: most
of these servers serve one model each. Who it is, is asked with GET /models; its answer without what changes by itself,
the server's version, and what the suite declares and requests make the digest that stands for weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError, UsageError
from bench.formatting import one_line
from bench.methods.catalogue import Method
from bench.methods.conditions import conditions_of
from bench.models.endpoint_http import Client, Reply, UnreachableError
from bench.models.endpoint_key import key_for
from bench.models.endpoint_retry import asked
from bench.suite.plan import guidance_of
from bench.suite.served import EndpointSpec, checked_url

if TYPE_CHECKING:
    from bench.suite.schema import Suite

_VOLATILE = frozenset({"created", "permission", "object"})
"""Of GET /models: when it was asked, and random ids."""
_REFUSALS = frozenset({400, 413, 422, 451})
"""Statuses that are about the one request; 401, 403 and 404 are about all of them."""
_TEXT = 160


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a picture is asked for with, besides its prompt and seed."""

    size: int
    steps: int
    guidance: float
    negative_prompt: str | None = None


@dataclass(slots=True)
class Served:
    """One model of one server. `facts` is who it is, as found when it was first asked."""

    name: str
    spec: EndpointSpec
    client: Client
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The model and its server, for messages."""
        return f"model '{self.name}' at {self.client.url}"

    @property
    def digest(self) -> str:
        """sha256 of who the model is, as 64 hex digits: what its weights' digest is elsewhere."""
        text = json.dumps(self.facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def identify(self) -> None:
        """Ask the server who it is. Raises MissingError: it does not answer; UsageError: it serves other models."""
        spec = self.spec
        self.facts = {
            "name": self.name,
            "model": self._model(),
            "version": self._version(),
            "guidance_as": spec.guidance_as,
            "request": spec.request,
            "declares": spec.declares,
        }

    def check_same(self) -> None:
        """Raise UsageError where another model answers now than the one that was asked first."""
        try:
            now = self._model()
        except UsageError as error:
            raise UsageError(f"{error}. {self._changed}") from None
        if now != self.facts["model"]:
            said = _difference(self.facts["model"], now)
            raise UsageError(f"{self.where} is another one now: it says {said}. {self._changed}")

    @property
    def _changed(self) -> str:
        return (
            "It was restarted or replaced while the run was made. The images until then are kept; start it again as it "
            "was and run the same command, or run it as it is now, which makes another run."
        )

    def payload(self, prompt: str, seed: int, drawing: Drawing) -> dict[str, Any]:
        """The body of a request: nothing that changes the picture is left to the server's defaults."""
        body: dict[str, Any] = {
            **self.spec.request,
            "model": self.name,
            "prompt": prompt,
            "n": 1,
            "seed": seed,
            "size": f"{drawing.size}x{drawing.size}",
            "num_inference_steps": drawing.steps,
            "response_format": "b64_json",
        }
        if self.spec.guidance_as != "none":
            body[self.spec.guidance_as] = drawing.guidance
        if drawing.negative_prompt is not None:
            body["negative_prompt"] = drawing.negative_prompt
        return body

    def ask(self, body: Mapping[str, Any], size: int) -> Reply:
        """The server's answer to one request for a picture; busy servers are asked again, a bounded number of times."""
        most = 6 * size * size + (4 << 20)  # a PNG of random RGBA in base64
        reply = asked(self.client, "POST", "/images/generations", body, most)
        if reply.status in (401, 403, 404, 405):
            raise self._turned_away(reply)
        return reply

    def refusal(self, reply: Reply) -> str | None:
        """Why the server refuses this request, as the reason of a value; None for other answers."""
        if reply.status not in _REFUSALS:
            return None
        return f"refused by the endpoint (HTTP {reply.status}: {self.message(reply)})"

    def message(self, reply: Reply) -> str:
        """What the server says of its refusal or failure, in one short line."""
        data = reply.json()
        found = data.get("error", data.get("detail", data.get("message"))) if isinstance(data, dict) else None
        if isinstance(found, dict):
            found = found.get("message", found)
        if found and not isinstance(found, str):
            found = json.dumps(found)
        text = one_line(found or reply.body.decode("utf-8", "replace")) or "no message"
        return self.client.scrubbed(text)[:_TEXT]

    def _turned_away(self, reply: Reply) -> Exception:
        said = f"HTTP {reply.status}: {self.message(reply)}"
        if reply.status in (401, 403):
            variable = self.spec.api_key_env
            how = f"the key in {variable} is not accepted" if variable else "name its variable as endpoint.api_key_env"
            if variable and self.client.key is None:
                how = f"the key in {variable} is sent to the host of endpoint.url alone, so serve the model there"
            return MissingError(f"{self.where} asks for an API key ({said}): {how}")
        if reply.status >= 500:
            return MissingError(f"the endpoint {self.client.url} fails ({said}): see the server's log")
        return UsageError(f"{self.client.url} has no images API ({said}): check the url and the name of the model")

    def _model(self) -> dict[str, Any]:
        """The server's entry of the model, without what changes by itself."""
        reply = asked(self.client, "GET", "/models")
        if reply.status != 200:
            raise self._turned_away(reply)
        data = reply.json()
        if not isinstance(data, dict):
            raise UsageError(f"{self.client.url}/models does not say who the model is (no JSON object)")
        listed = data.get("data")
        entries = listed if isinstance(listed, list) else [data]
        known = {_name_of(one): one for one in entries if isinstance(one, dict)}
        if self.name not in known:
            there = ", ".join(sorted(filter(None, known))) or "none that it names"
            raise UsageError(f"{self.client.url} does not serve '{self.name}', but {one_line(there)[:_TEXT]}")
        headers = {name: text for name, text in reply.headers.items() if "version" in name}
        entry: dict[str, Any] = _steady(known[self.name])
        return entry | ({"headers": headers} if headers else {})

    def _version(self) -> Any:
        """What GET /version says beside the API; None where the server has no such thing."""
        root = self.client.url.removesuffix("/v1")
        reply = asked(Client(root, self.client.timeout, self.client.key, self.client.stopped), "GET", "/version")
        data = reply.json() if reply.status == 200 else None
        return _steady(data) if isinstance(data, dict) else None


def _name_of(entry: Mapping[str, Any]) -> str:
    """The name of a model in GET /models: vLLM-Omni's entries have an id, SGLang says its model_path."""
    return str(entry.get("id") or entry.get("model_path") or entry.get("name") or "")


def _steady(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _steady(value) for key, value in data.items() if key not in _VOLATILE}
    return [_steady(one) for one in data] if isinstance(data, list) else data


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first thing that two answers say otherwise."""
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            return one_line(f"{key} = {json.dumps(now.get(key))}, before {json.dumps(before.get(key))}")[:_TEXT]
    return "nothing else"


def open_served(weights: str, spec: EndpointSpec) -> Served:
    """The model that a weights name means, not yet asked. UsageError: a bad address; MissingError: no API key."""
    name, at, url = weights.rpartition("@http")
    address = spec.url
    if at:
        try:
            address = checked_url(f"http{url}")
        except ValueError as error:
            raise UsageError(f"the address of the model '{weights}' {error}") from None
    return Served(name if at else weights, spec, Client(address, spec.timeout, key_for(spec, address)))


def served_name(suite: Suite, method: Method) -> str:
    """The one model that serves a method. Raises UsageError for methods that need two at once, or what the API has not.

    The API gives pictures and takes no latents, so that no step can be handed from one model to another.
    """
    weights = method.weights_at(suite.sampler.steps)
    if any(0.0 < weight < 1.0 for weight in weights) or len(set(weights)) > 1:
        raise UsageError(
            f"method '{method.name}' mixes two models within one picture, but suite '{suite.name}' has an endpoint, "
            "whose API takes and gives no latents: run it on the weights themselves; base and refl can be served"
        )
    inside = {"guider": not method.guider.plain, "soup": method.parts, "search": method.search}
    inside |= {"precision": method.precision, "cache_interval": method.cache_interval}
    inside |= {"threshold": method.threshold is not None, "taylor_interval": method.taylor_interval}
    inside |= {"coupling": method.coupling}
    if kind := next((name for name, has in inside.items() if has), None):
        raise UsageError(
            f"method '{method.name}' has a {kind}, which acts within a picture's steps or weights, and the API of an "
            "endpoint has neither: run it on the weights themselves"
        )
    if method.lora_scale != 1.0 or method.text_encoder is not None:
        key = "text_encoder" if method.lora_scale == 1.0 else "lora_scale"
        raise UsageError(
            f"method '{method.name}': {key} is the server's own setting: remove it, and serve the model with it"
        )
    name = suite.model.weights if not any(weights) else method.weights
    if name is None:
        raise UsageError(f"method '{method.name}' has no weights")
    return name


def check_served_methods(suite: Suite, methods: Sequence[Method]) -> None:
    """UsageError for a method that the suite's endpoint cannot serve, before anything is asked of it."""
    spec = suite.model.endpoint
    assert spec is not None
    for method in methods:
        served_name(suite, method)
        for name in conditions_of(suite, method).given:
            if name != "negative_prompt":
                raise UsageError(f"method '{method.name}': {name} is not known to the API of an endpoint: remove it")
        for side, value in guidance_of(suite, method).items():
            if spec.guidance_as == "none" and value != 1.0:
                raise UsageError(
                    f"method '{method.name}' has guidance {value:g} on its {side} side, but endpoint.guidance_as is "
                    "'none': set guidance to 1, or say which parameter it is sent as"
                )


def served_digests(suite: Suite, methods: Sequence[Method]) -> dict[str, str]:
    """The digest of each model that serves one of the methods, by its weights name. The servers are asked."""
    assert suite.model.endpoint is not None
    digests = {}
    for name in dict.fromkeys(served_name(suite, method) for method in methods):
        served = open_served(name, suite.model.endpoint)
        served.identify()
        digests[name] = served.digest
    return digests


def silent(weights: str, spec: EndpointSpec) -> str | None:
    """Why a served model does not answer, asked once; None where it does. UsageError: another model answers."""
    served = open_served(weights, spec)
    try:
        served.client.request("GET", "/models")
    except UnreachableError as error:
        return str(error)
    served.identify()
    return None
