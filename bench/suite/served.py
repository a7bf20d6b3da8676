"""The part of a suite that says which server makes its images: an OpenAI-compatible images API.

What the server alone decides (scheduler, dtype) is written "server" in the suite and in the identity of its runs.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from bench.suite.override import Number, Part, Text, Whole

ENDPOINT = "endpoint"
"""The kind of such a model, and the family that its suite has in place of one that is loaded here."""
SERVER = "server"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SENT = frozenset(
    {"model", "prompt", "n", "seed", "size", "response_format", "num_inference_steps", "negative_prompt"}
    | {"guidance_scale", "true_cfg_scale"}
)
"""What every request has from the suite itself, so that `request` may not say it."""


class EndpointSpec(Part):
    """How the server is reached, and what a request has besides the suite's own settings.

    `url` is the address in front of "/images/generations" ("http://127.0.0.1:8000/v1"). `api_key_env` names the
    environment variable with the API key, which is never written anywhere. `concurrency` requests are under way at a
    time, each for at most `timeout` seconds. `guidance_as` is the parameter that the suite's guidance is sent as, or
    "none" for models without (then guidance must be 1). `request` are more parameters of each request, and `declares`
    what the server does not say of itself (caches, precision): both are part of the identity of a run.
    """

    url: Text
    api_key_env: Text | None = None
    concurrency: Annotated[Whole, Field(ge=1, le=256)] = 4
    timeout: Annotated[Number, Field(gt=0, le=86_400)] = 600.0
    guidance_as: Literal["guidance_scale", "true_cfg_scale", "none"] = "guidance_scale"
    request: dict[str, Any] = Field(default_factory=dict)
    declares: dict[str, Any] = Field(default_factory=dict)

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        return checked_url(url)

    @field_validator("api_key_env")
    @classmethod
    def _variable(cls, name: str | None) -> str | None:
        if name is not None and not _VARIABLE.fullmatch(name):
            raise ValueError("must be the name of an environment variable (never the key itself)")
        return name

    @field_validator("request")
    @classmethod
    def _not_ours(cls, request: dict[str, Any]) -> dict[str, Any]:
        for key in request:
            if key in _SENT:
                raise ValueError(f"must not have '{key}': it comes from the suite itself")
        return request


def checked_url(url: str) -> str:
    """The address without a final slash. ValueError for what is no plain http or https address."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or any(ord(letter) <= 32 for letter in url):
        raise ValueError("must be an address such as http://127.0.0.1:8000/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not have a user or a password in it: name the variable of an API key as api_key_env")
    if parts.query or parts.fragment:
        raise ValueError("must not have '?' or '#' in it")
    return url.rstrip("/")


def server_decides(data: Any) -> Any:
    """The data of a suite with "server" for scheduler and dtype, where a server makes the images and it says none."""
    model = data.get("model") if isinstance(data, dict) else None
    kind = model.get("kind") if isinstance(model, dict) else getattr(model, "kind", None)
    if kind != ENDPOINT:
        return data
    sampler = data.get("sampler", {})
    if isinstance(sampler, dict):
        sampler = {"scheduler": SERVER, **sampler}
    return {"dtype": SERVER, **data, "sampler": sampler}


def check_served(suite: Any) -> None:
    """ValueError where a suite (a `Suite`) and the kind of its model contradict each other."""
    model, scheduler = suite.model, suite.sampler.scheduler
    if model.kind != ENDPOINT:
        if model.family == ENDPOINT or model.endpoint is not None:
            raise ValueError("model has an endpoint: write kind = 'endpoint' in [model]")
        for key, value in {"dtype": suite.dtype, "sampler.scheduler": scheduler}.items():
            if value == SERVER:
                raise ValueError(f"{key} may be 'server' only for a model of kind 'endpoint'")
        return
    if model.endpoint is None:
        raise ValueError("model is of kind 'endpoint' and needs a table [model.endpoint] with its url")
    if model.family != ENDPOINT:
        raise ValueError(f"model is of kind 'endpoint' and takes no family, got '{model.family}': remove it")
    if suite.dtype != SERVER:
        raise ValueError(f"dtype is the server's own choice: remove '{suite.dtype}' (and --dtype)")
    if scheduler != SERVER or suite.sampler.options:
        raise ValueError("sampler may only have steps: the API has no scheduler and no options of one")
    if model.embedded_guidance is not None or model.true_cfg:
        raise ValueError(
            "model.embedded_guidance and model.true_cfg are not known to the API: see endpoint.guidance_as"
        )
    for key in ("guidance_rescale", "clip_skip", "embeddings"):
        if getattr(suite, key):
            raise ValueError(f"{key} is not known to the API of an endpoint: remove it")
