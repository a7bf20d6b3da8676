"""Which prompts are independent of one another: what intervals, and the blocks of set metrics, take for one unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def clusters_of(
    prompts: Iterable[tuple[str, str]], tags: Mapping[str, Sequence[str]], cluster: str = ""
) -> dict[str, int]:
    """Prompt id -> its cluster, as a number: what intervals take for independent (Miller 2024, arXiv 2411.00640).

    Prompts (id, text) of one text (but for case and spaces) are one cluster, whatever their ids: the same text twice is
    no second prompt. Where the suite names a `cluster` tag, prompts with the same tag of that name ("scene:3" or
    "scene=3" for "scene") are one cluster. Numbers are in the order of the prompts.
    """
    numbers: dict[str, int] = {}
    found = {}
    for prompt_id, text in prompts:
        above = tag_of(tags.get(prompt_id, ()), cluster)
        label = f"tag {above}" if above else f"text {' '.join(text.split()).casefold()}"
        found[prompt_id] = numbers.setdefault(label, len(numbers))
    return found


def tag_of(tags: Sequence[str], cluster: str) -> str | None:
    """The tag of a prompt that names its cluster; None where it has none, or the suite names no cluster."""
    if not cluster:
        return None
    return next((tag for tag in tags if tag.startswith((f"{cluster}:", f"{cluster}="))), None)
