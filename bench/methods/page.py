"""The published checkpoints as Markdown, from the catalogue: `python -m bench.methods.page > docs/checkpoints.md`."""

from __future__ import annotations

from bench.formatting import markdown_table
from bench.methods.catalogue import get_method
from bench.methods.checkpoints import CHECKPOINTS, Checkpoint

_HEAD = """# Checkpoints

Written by `python -m bench.methods.page > docs/checkpoints.md` from `bench/methods/checkpoints.py`; the tests fail when
it is out of date. `bench list models` prints the same in a terminal.

## Naming one

In a suite (`[methods.refl] weights = "..."`) or in a call (`--set weights=...`, or `--set refl.weights=...` for one of
several methods):

| name | means |
| --- | --- |
| `path/to/folder`, `path/to/file.safetensors` | a local checkpoint; a local path wins over a hub id of the same name |
| `owner/name` | a repository of the hub: of a pipeline its parts, else every safe file |
| `owner/name:unet` | a folder in it |
| `owner/name:lora.safetensors` | a file in it |
| `owner/name@REVISION:unet` | at a branch, tag or full commit: only a commit never changes |
| `...#sha256=DIGEST` | refused unless it has this digest: a file's sha256, or of a folder the one in a run's manifest |
| `shapes:refl` | shipped with the embedded suite |

Forms that are read: [checkpoint_forms_full.md](checkpoint_forms_full.md) has each of them, and
[checkpoint_forms_adapters.md](checkpoint_forms_adapters.md) those of adapters (LoRA, DoRA, LoHa, LoKr, OFT). Of a
repository only `.safetensors`, `.json`, `.txt` and `.model` files are fetched: no code, and no pickle. Half-precision
variants are fetched where a folder has nothing else.

## How fetching behaves

What is in the hub's cache is used without asking the hub, so a second run needs no network (`HF_HUB_OFFLINE=1` works);
`hf download owner/name` brings a newer commit. Files that arrive are compared with the digests by which the hub names
them, and a file appears in the cache only when it is whole. A cut connection is resumed; when it stays cut, the files
that are finished are kept, and the next try fetches the others. What is missing, gated, damaged, or does not fit on the
disk is said in one sentence, with exit code 4.

`HF_HOME` moves the cache, `HF_TOKEN` or `hf auth login` opens gated repositories (Stable Diffusion 3.5 and FLUX.1 [dev]
are), `HF_ENDPOINT` names another hub.

Every ready suite names the checkpoints that fit its model ([suites.md](suites.md)).

## What is published

Facts were read in the places named under "read in"; what was not stated there is "unknown" or left open, not guessed.
Metrics in "trained on" are marked in reports as in-reward (†): a method's gain on them is no evidence. Nobody published
a ReFL or DRaFT checkpoint of the ImageReFL paper: `bench train refl` and `bench train draft` make one.

"not pinned" under "revision": no public source was seen that shows a commit of that repository, so its newest one is
taken, which its authors may replace. The commit that was resolved is in the manifest (`provenance.commits`), the digest
of what was read is in the identity, so runs of another commit are other runs, and the report says "not pinned" too. Pin
with `owner/name@COMMIT`.
"""


def page() -> str:
    """The whole page."""
    lines = [_HEAD]
    lines += markdown_table(
        (
            "weights",
            "method",
            "family",
            "trained on",
            "guidance",
            "steps",
            "switch",
            "pixels",
            "licence of the weights",
        ),
        [_facts(checkpoint) for checkpoint in CHECKPOINTS],
    )
    lines += ["", "### Forms, bases and sources", ""]
    lines += markdown_table(
        ("weights", "revision", "form", "tuned from", "read in", "note"),
        [
            (
                f"`{checkpoint.weights}`",
                _revision(checkpoint),
                checkpoint.form,
                f"`{checkpoint.base}`",
                checkpoint.source,
                checkpoint.note or "-",
            )
            for checkpoint in CHECKPOINTS
        ],
    )
    lines += ["", "### Papers", ""]
    for name in dict.fromkeys(checkpoint.method for checkpoint in CHECKPOINTS):
        method = get_method(name)
        lines.append(f"- `{name}` ({method.title}): {method.citation}")
    return "\n".join(lines) + "\n"


def _revision(checkpoint: Checkpoint) -> str:
    return f"`{checkpoint.revision}`" if checkpoint.revision else "not pinned"


def _facts(checkpoint: Checkpoint) -> tuple[str, ...]:
    numbers = (checkpoint.guidance, checkpoint.steps, checkpoint.switch_step, checkpoint.resolution)
    guidance, steps, switch, pixels = ("-" if value is None else f"{value:g}" for value in numbers)
    guidance = (
        "1 (none)"
        if checkpoint.guidance == 1
        else f"{guidance} (embedded)"
        if checkpoint.family == "flux"
        else guidance
    )
    trained_on = ", ".join(checkpoint.trained_on) or "-"
    return (
        f"`{checkpoint.weights}`",
        checkpoint.method,
        checkpoint.family,
        trained_on,
        guidance,
        steps,
        switch,
        pixels,
        checkpoint.licence,
    )


if __name__ == "__main__":
    print(page(), end="")
