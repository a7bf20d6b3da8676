"""The ready suites and public prompt sets as Markdown: `python -m bench.suite.page > docs/suites.md`."""

from __future__ import annotations

import prompts
from bench.formatting import markdown_table
from bench.suite.load import load_suite, suite_names
from bench.suite.resolve import resolve_method
from bench.suite.schema import NO_MODEL, Suite

_HEAD = """# Ready suites and public prompts

Written by `python -m bench.suite.page > docs/suites.md` from `bench/suite/ready/*.toml` and `prompts/catalogue.toml`;
the tests fail when it is out of date.

A suite says what is evaluated: model, prompts, sampler, methods, metrics. `bench run --suite sd15-hpdv2 --method
base,imagerefl,dpo` fetches what it needs, once; `--limit 20` is a first look. Each file under `bench/suite/ready`
says in its first lines where its settings were read. Copy one and give it with `--suite mine.toml` to change it.

`refl`, `draft`, `combined`, `aig` and `scaled` have no published checkpoint: `--set weights=...` gives yours to all
methods of the call that have weights, `--set combined.weights=...` to one, and `bench train` makes one.

Revisions of the base models are those under which public code pins or caches them; the hub itself was not asked. A
wrong one would be said when it is fetched, and nothing else used in its place.

Guidance is Imagen's in all families: 1 means none. The 6 of `z_image-hpdv2` is `guidance_scale` 5 of diffusers'
pipeline, which counts from 0; that of `qwen_image-hpdv2` is its `true_cfg_scale`.
"""
_PROMPTS = """
## Prompts that belong together

Intervals take prompts for independent. Two that are not are no two: prompts of the same text (but for case and spaces)
are one cluster, whatever their ids, and a suite's key `cluster` names a tag above them, for prompts that were written
of the same scene or from the same template (Miller 2024, arXiv 2411.00640):

```toml
prompts = "scenes.jsonl"     # {"id": "a1", "text": "a cat on a mat", "tags": ["scene:mat"]}
cluster = "scene"            # prompts with the same tag scene:... (or scene=...) are one cluster
```

All of `compare`, `report` and `check` then rest on clusters: means are over all prompts, but intervals, p values, the
blocks of set metrics and the numbers of prompts that would decide are of clusters. How many there are is said under the
table, and so it is where the tag is not there: then each text is a cluster of its own. A public set of several styles
has one tag a style, which is a subset and no cluster: name a tag only where its prompts stand for one another.

## Public prompt sets

A set's number of prompts is always compared, and where they are known its revision and the sha256 of its files: a
changed set is refused, never used with another number. Sets of the hub are fetched when they are first needed; for the
others `bench run` says the command that puts them in place, once. Their folder is `~/.cache/imagerefl-bench/prompts`,
or `$BENCH_PROMPTS`. Digests of the sets on GitHub were computed from those files; those of `hpdv2-bench` were read in
public code that pins them.
"""


def page() -> str:
    """The whole page."""
    lines = [_HEAD]
    suites = [load_suite(name) for name in suite_names()]
    lines += markdown_table(
        ("suite", "model", "prompts x images", "sampler", "guidance", "pixels", "methods with weights"),
        [_facts(suite) for suite in suites],
    )
    lines += ["", "### Metrics", ""]
    lines += markdown_table(("suite", "metrics"), [(f"`{suite.name}`", ", ".join(suite.metrics)) for suite in suites])
    lines.append(_PROMPTS)
    lines += markdown_table(
        ("set", "what", "prompts", "source", "revision", "sha256 known", "licence"),
        [
            (
                f"`{one.name}`",
                one.title,
                f"{one.count:,}",
                one.source,
                one.revision[:12] or "-",
                _known(one),
                _licence(one),
            )
            for one in prompts.public_sets().values()
        ],
    )
    notes = [(one.name, one.note) for one in prompts.public_sets().values() if one.note]
    return "\n".join([*lines, "", *(f"- `{name}`: {note}." for name, note in notes)]) + "\n"


def _known(prompt_set: prompts.PublicSet) -> str:
    return "yes" if all(prompt_set.files.values()) else "no"


def _licence(prompt_set: prompts.PublicSet) -> str:
    return prompt_set.licence or "unknown"


def _facts(suite: Suite) -> tuple[str, ...]:
    name, _, revision = suite.model.weights.partition("@")
    model = f"`{name}` at {revision[:12]} ({suite.model.family})" if revision else f"`{name}` ({suite.model.family})"
    if suite.model.family == NO_MODEL:
        return (f"`{suite.name}`", "none: images from elsewhere", "given with --prompts", "-", "-", "-", "-")
    embedded = suite.model.embedded_guidance
    guidance = f"{suite.guidance:g}" if embedded is None else f"{embedded:g}, embedded"
    methods = []
    for method_name, told in suite.methods.items():
        if told.weights is not None:
            step = resolve_method(method_name, suite).schedule.switch_step
            methods.append(f"{method_name}" + (f" (k = {step})" if step is not None else ""))
    sampler = f"{suite.sampler.scheduler.removesuffix('Scheduler')}, {suite.sampler.steps} steps"
    count = f"{suite.prompts} x {suite.samples}"
    return (f"`{suite.name}`", model, count, sampler, guidance, str(suite.resolution), ", ".join(methods) or "-")


if __name__ == "__main__":
    print(page(), end="")
