"""All keys of a suite's TOML file as Markdown, from the schema: `python -m bench.suite.keys > docs/suite_keys.md`.

Types, ranges, choices and defaults are read from the schema; what a key means stands here, and a test holds that every
key has a meaning and that no other one has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.formatting import markdown_table
from bench.suite.schema import Suite

_HEAD = """# The keys of a suite's file

Written by `python -m bench.suite.keys > docs/suite_keys.md` from the schema; the tests fail when it is out of date.

A suite is a TOML file that says what is evaluated; `bench run --suite mine.toml`. Every key that is not here is refused
with its name, and so is a value of another type or beyond its range. What has no default may be left out; **required**
says what may not. [own_model.md](own_model.md) makes one from nothing; the ready ones are in [suites.md](suites.md).
"""
_TABLES = {
    "": ("Suite", "At the top of the file."),
    "[model]": ("ModelSpec", "The base model ([models.md](models.md), [checkpoints.md](checkpoints.md))."),
    "[model.endpoint]": ("EndpointSpec", 'The server of a model of `kind = "endpoint"`.'),
    "[sampler]": ("Sampler", "How images are sampled."),
    "[methods.NAME]": (
        "MethodOverride",
        "What the suite says of a method of `bench list methods`, or of one that it adds with `like`; `--set` sets the "
        "same keys.",
    ),
    "[metrics.NAME]": ("MetricSpec", "One table a metric that is scored ([metrics.md](metrics.md)); it may be empty."),
    "[reference]": ("Reference", "What set metrics compare with ([images.md](images.md))."),
}
_CONDITIONS = {
    "negative_prompt": "what the pass without the prompt is given",
    "guidance_rescale": "share of the rescaling of guided predictions (Lin et al. 2023, arXiv 2305.08891); 0 is none",
    "clip_skip": "last layers of CLIP's text encoder that are skipped",
    "embeddings": "token -> weights of a textual inversion",
}
MEANINGS: Mapping[str, Mapping[str, str]] = {
    "Suite": {
        "name": "of the suite, and of its folder in the results; not needed in a file, whose name it is",
        "title": "what reports call it",
        "label": "said behind the name of every metric that is not measured with the published weights",
        "cluster": "tag above prompts that belong together, `scene` for tags `scene:3`: intervals rest on clusters",
        "model": "table, below",
        "prompts": "name of a prompt set (`bench list prompts`), or a file beside this one",
        "prompt_column": "column of the prompt file that holds the prompts, where it is not found by itself",
        "samples": "images of each prompt",
        "seed": "of all noise, which is a function of it, the prompt's id, the sample and the step",
        "limit": "only the first prompts",
        "sampler": "table, below",
        "resolution": "height and width of the images in pixels",
        "dtype": "of the model's networks",
        "compile": "networks and decoders run by torch.compile: other last bits, so another run",
        "fuse_lora": "LoRAs of methods that run the tuned network alone are fused into its weights: another run",
        "guidance": "classifier-free guidance of the base model; 1 is none",
        **_CONDITIONS,
        "methods": "tables, below",
        "metrics": "tables, below",
        "unselected": "metrics that are configured and not scored; `--metrics` chooses among them",
        "reference": "table, below",
    },
    "ModelSpec": {
        "family": "the adapter that loads it, or one of a plug-in; `none` only scores images",
        "weights": "a folder, a hub id (`owner/name@commit`), or `shapes:NAME`",
        "embedded_guidance": "input of networks with guidance distilled into them; without it the pipeline's own",
        "kind": "`local`, or `endpoint`: a server that makes the images",
        "endpoint": "table, below: of `endpoint` alone",
        "true_cfg": "allows classifier-free guidance above 1 for those",
        "cfg_normalization": "of z_image: most norm of a guided prediction, in norms of the conditional one; 0: none",
        "cfg_truncation": "of z_image: time, from 0 (noise) to 1, above which there is no guidance",
    },
    "EndpointSpec": {
        "url": "the address in front of `/images/generations`",
        "api_key_env": "environment variable that holds the API key, which is written nowhere",
        "concurrency": "requests that are under way at a time",
        "timeout": "of a request, in seconds",
        "guidance_as": "the parameter that guidance is sent as; `none`: guidance must be 1",
        "request": "more parameters of each request, part of the run's identity",
        "declares": "what the server does not say of itself, part of the run's identity",
    },
    "Sampler": {
        "scheduler": "class of diffusers",
        "steps": "denoising steps T",
        "options": "replace values of the scheduler's config",
    },
    "MethodOverride": {
        "like": "the method that this one is made from",
        "title": "what reports call it",
        "weights": "the tuned checkpoint, in any published form, optionally with `#sha256=...`",
        "replicates": "checkpoints of the same training with other seeds (`--replicates`)",
        "schedule": "how the weight of the tuned network depends on the step",
        "switch_step": "k of the schedules step and reversed_step",
        "value": "of the schedule constant",
        "power": "p of the schedule power, (i / T) ** p",
        "centre": "of the schedule sigmoid, as a fraction of the steps",
        "sharpness": "of the schedule sigmoid",
        "table": "the T weights of the schedule table",
        "base_guidance": "guidance where the base network runs; without it the method's own, else the suite's",
        "tuned_guidance": "guidance where the tuned network runs; without it the method's own, else the suite's",
        "lora_scale": "factor of a LoRA",
        **_CONDITIONS,
        "text_encoder": "`ignore` leaves out what a LoRA changes in text encoders",
        "trained_on": "metrics that the checkpoint was trained on, which a dagger marks",
        "trained_on_data": "published sets that it was trained on",
        "guider": "another rule than classifier-free guidance",
        "start": "of guiders: fraction of the steps before which there is no guidance",
        "stop": "of guiders: fraction of the steps from which on there is no guidance",
        "eta": "of apg: share that is kept of the part parallel to the conditional prediction",
        "momentum": "of apg: of the average over steps",
        "norm_threshold": "of apg: norm that the difference is shortened to; 0 leaves it",
        "zero_init_steps": "of cfg_zero_star: first steps that predict zero",
        "tau1": "of cads: fraction of noise left below which the prompt has no noise",
        "tau2": "of cads: fraction of noise left above which it is all noise",
        "noise_scale": "of cads: how large the noise of the prompt is",
        "psi": "of cads: share of the restored mean and deviation",
        "weak": "of autoguidance: weights of the weaker network, or `skip:PATH:0,1` for the same one without blocks",
        "soup": "tuned checkpoints whose weights are averaged",
        "ratios": "of `soup`: the share of each",
        "steps": "denoising steps of this method, in place of the suite's",
        "precision": "`int8`: weights rounded to 8 bits",
        "cache_interval": "of a UNet: its deep features are computed at every Nth step and reused at the others",
        "threshold": "of FLUX.1: change of the first block below which the others are left out at a step",
        "taylor_interval": "of taylorseer: attention layers run at every Nth step and are extrapolated at the others",
        "taylor_order": "of taylorseer: highest order of the extrapolation; 0 takes the last outputs as they are",
        "taylor_warmup": "of taylorseer: first steps at which they run",
        "coupling": "the images of a prompt push each other apart while they are made",
        "repulsion": "of particle_guidance: how strongly",
        "bandwidth": "of particle_guidance: factor of the kernel's width",
        "least_noise": "of particle_guidance: noise level (noise over signal) below which it does not act",
        "shield": "of spell: root mean square difference of latents below which two images are too near",
        "overshoot": "of spell: factor of the push",
        "n": "of methods that choose among candidates: how many each image is chosen from",
        "reward": "of those: the metric that chooses",
        "rounds": "of noise search: how often the noise is varied",
        "radius": "of noise search: how far the noise is varied",
        "ratio": "how far the tuned weights are moved from the base's: 0 is the base, 1 the checkpoint",
    },
    "MetricSpec": {
        "weights": "a path or hub id; without it the published ones",
        "options": "those of the metric; for torchmetrics the arguments of the class",
        "dtype": "of the metric's networks",
        "tf32": "on: CUDA multiplies float32 as TensorFloat-32",
        "torchmetrics": "a class of torchmetrics, such as `image.TotalVariation`, under a name of the suite's own",
        "answers": "of `question`: a list, of which the images of a prompt show some; without it: Yes or No",
        "question": "what a vision-language model is asked about every image, under a name of the suite's own",
    },
    "Reference": {
        "kind": "`folder` for images or statistics on disk, `shapes` for drawn ones",
        "count": "of `shapes`: how many are drawn",
        "seed": "of `shapes`: of the drawing",
        "path": "of `folder`: a folder, zip, `datasets:OWNER/NAME` or .npz",
        "name": "the published set that they are, so that it is said which methods saw it",
        "network": "metric whose features mu and sigma of an .npz are",
        "split": "of a repository of `datasets`",
        "column": "of a repository of `datasets`",
    },
}


def page() -> str:
    """The whole page."""
    schema = Suite.model_json_schema()
    lines = [_HEAD]
    for title, (name, text) in _TABLES.items():
        part = schema if name == "Suite" else schema["$defs"][name]
        lines += [f"## `{title}`" if title else "## The file", "", text, ""]
        lines += markdown_table(("key", "type", "default", "meaning"), _rows(name, part))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _rows(name: str, part: Mapping[str, Any]) -> list[tuple[str, ...]]:
    required = {"prompts", "metrics", "model"} if name == "Suite" else set(part.get("required", ()))
    return [
        (f"`{key}`", _kind(entry), "**required**" if key in required else _default(entry), MEANINGS[name].get(key, ""))
        for key, entry in part["properties"].items()
    ]


def _default(entry: Mapping[str, Any]) -> str:
    value = entry.get("default")
    if value is None or value in ([], {}, "") or isinstance(value, dict):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(entry: Mapping[str, Any]) -> str:
    """The type in words, with its range or choices."""
    for choice in entry.get("anyOf", ()):
        if choice.get("type") != "null":
            return _kind(choice)
    if "enum" in entry or "const" in entry:
        return "one of " + ", ".join(f"`{one}`" for one in entry.get("enum", [entry.get("const")]))
    if "$ref" in entry or "allOf" in entry:
        return "table"
    if entry.get("type") == "array":
        return f"list of {_kind(entry.get('items', {}))}"
    if entry.get("type") == "object":
        return "table"
    names = {"integer": "integer", "number": "number", "string": "string", "boolean": "true or false"}
    return names.get(str(entry.get("type")), "any") + _range(entry)


def _range(entry: Mapping[str, Any]) -> str:
    parts = [
        f"{words} {entry[key]:g}"
        for key, words in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("multipleOf", "multiple of"),
        )
        if isinstance(entry.get(key), int | float) and entry[key] < 2**53
    ]
    return f", {', '.join(parts)}" if parts else ""


if __name__ == "__main__":
    print(page(), end="")
