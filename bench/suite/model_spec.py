"""A suite's model: family, weights, and how guidance acts where its pipeline leaves a choice."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from bench.registry.families import GUIDANCE_RULES
from bench.suite.override import Number, Part, Text, Weight
from bench.suite.served import ENDPOINT, EndpointSpec


class ModelSpec(Part):
    """The base model: its family names the adapter, `weights` a folder ("shapes:NAME", a path, or a hub id).

    The family "none" is that of a suite that only scores images (`bench score --images`). With `kind` "endpoint" a
    server makes the images (`bench.suite.served`), and `weights` is the name that it serves the model under.

    For models with guidance distilled into them (FLUX.1 [dev]) only: `embedded_guidance` is the network's input (None:
    the pipeline's own default), and `true_cfg` allows classifier-free guidance above 1.

    For family "z_image" only: `cfg_normalization` bounds the norm of a guided prediction by that many times the
    conditional one's (0: no bound), and `cfg_truncation` leaves guidance out where the time, from 0 (noise) to 1, is
    above it. None is diffusers' default: no bound, and guidance at all times.
    """

    kind: Literal["local", "endpoint"] = "local"
    family: Text = "sd"
    weights: Text
    endpoint: EndpointSpec | None = None
    embedded_guidance: Annotated[Number, Field(ge=0)] | None = None
    true_cfg: bool = False
    cfg_normalization: Annotated[Number, Field(ge=0)] | None = None
    cfg_truncation: Weight | None = None

    @model_validator(mode="before")
    @classmethod
    def _family_of_endpoint(cls, data: Any) -> Any:
        is_served = isinstance(data, dict) and data.get("kind") == ENDPOINT
        return {"family": ENDPOINT, **data} if is_served else data

    @model_serializer(mode="wrap")
    def _without_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what came later and is not set: manifests and identities of before stay what they were."""
        data: dict[str, Any] = handler(self)
        later = {*GUIDANCE_RULES, "endpoint", *(("kind",) if self.kind == "local" else ())}
        return {key: value for key, value in data.items() if key not in later or value not in (None, "local")}
