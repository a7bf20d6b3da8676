"""The table of all metrics as Markdown, from the catalogue: `python -m metrics.docs > docs/metrics.md`."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from metrics.builtin import BUILTIN
from metrics.catalogue import find_class
from metrics.markdown import markdown_table
from metrics.torchmetrics_forms import FORMS
from metrics.types import Facts
from metrics.weights.hub_name import parse
from metrics.weights.pins import pinned

_HEAD = """# Metrics

Written by `python -m metrics.docs > docs/metrics.md` from the catalogue; the tests fail when it is out of date.

An image metric gives a value for an image and its prompt, a group metric for the images of one prompt, a set metric for
all images against a reference set (`conditional_vendi` needs none). An arrow points where better values are. What
decides a value (digests of the weights, resize, antialias, crop, mean and deviation, token limit, dtype, options) is in
the identity card that is stored with the scores: `metrics.load(...).card.to_dict()`. Weights that are not the published
ones are labelled in the title; the published ones are taken from the commit of their repository that is shown.

Networks compute in float32. `dtype = "bfloat16"` (or `"float16"`) in a metric's table of the suite loads them in half
the memory, and `tf32 = true` lets CUDA devices multiply float32 as TensorFloat-32; without it they multiply exactly.
Both move values ([performance.md](performance.md) has how far), stand in the card, and make values that are not
comparable with others. Metrics whose published code has one precision refuse them.

```toml
[metrics.pickscore]
dtype = "bfloat16"

[metrics.lpips]
tf32 = true
```
"""

_TORCHMETRICS = """A suite may give a class of [torchmetrics](https://lightning.ai/docs/torchmetrics) a name, and its
arguments as options:

```toml
[metrics.smooth]
torchmetrics = "image.TotalVariation"

[metrics.ssim_diversity]
torchmetrics = "image.StructuralSimilarityIndexMeasure"
options = { kernel_size = 7 }
```

Each image has a value of its own. Of a measure of two images the value is the mean over the pairs of a prompt's
images, a measure of diversity, so that for a similarity lower is better. Pixels are handed over in the range that
the class takes; arguments that belong to it, and `reduction`, are set here and refused as options. The class, the
release of torchmetrics and a digest of its networks' parameters are in the card. `fid`, `fid_torchmetrics` and
`kid` are this project's own code: the first two share torchmetrics' formula and differ in the resize, and `kid` is
the estimate over all images at once, where torchmetrics draws subsets. "Needs weights" means that the class
downloads its network when it is loaded.
"""


def _range(facts: Facts) -> str:
    if facts.low is None and facts.high is None:
        return "unbounded"
    if facts.high is None:
        return f"from {facts.low:g}"
    return f"{facts.low:g} to {facts.high:g}" if facts.low is not None else f"up to {facts.high:g}"


def _source(facts: Facts) -> str:
    if facts.weights is None:
        return "none"
    name = facts.weights
    if name.startswith("https://"):
        return f"[{unquote(name.rpartition('/')[2])}]({name})"
    hub = parse(pinned(name))
    return f"{name} at {hub.revision[:8]}" if hub and hub.revision else name


def _main_row(facts: Facts) -> list[str]:
    name = f"`{facts.name}`" + (" (not supported)" if facts.unsupported else "")
    start = [
        name,
        facts.title,
        facts.kind.value,
        facts.unit,
        _range(facts),
        f"{facts.direction.arrow} {facts.direction.value}",
    ]
    return [*start, _source(facts), facts.licence, facts.citation]


def _options(facts: Iterable[Facts]) -> list[list[str]]:
    """Options with their meaning, which the metric's class says in `option_help`."""
    return [
        [f"`{one.name}`", f"`{key}`", "none" if value is None else f"`{value}`", _meaning(one.name, key)]
        for one in facts
        for key, value in one.options.items()
    ]


def _meaning(name: str, option: str) -> str:
    return str(getattr(find_class(name), "option_help", {}).get(option, ""))


def _forms() -> list[list[str]]:
    return [
        [
            f"`{path}`",
            form.kind.value,
            form.takes,
            form.pixels,
            f"{form.direction.arrow} {form.direction.value}",
            "yes" if form.network else "no",
        ]
        for path, form in FORMS.items()
    ]


def document() -> str:
    """The whole page, ending in a newline."""
    facts = [one for _, one in BUILTIN]
    head = ("name", "title", "kind", "unit", "range", "better", "weights", "licence", "citation")
    lines = [_HEAD, *markdown_table(head, map(_main_row, facts)), "", "## Options", ""]
    lines += ["Of `metrics.load(name, ...)` and of a suite's `[metrics.NAME.options]`, with their defaults.", ""]
    lines += markdown_table(("name", "option", "default", "meaning"), _options(facts))
    lines += ["", "## Classes of torchmetrics", "", _TORCHMETRICS]
    lines += markdown_table(("class", "kind", "takes", "pixels", "better", "needs weights"), _forms())
    if refused := [f"- `{one.name}` ({one.title}), because {one.unsupported}." for one in facts if one.unsupported]:
        lines += ["", "## Not supported", "", *refused]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
