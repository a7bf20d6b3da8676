"""What a reader of a metric's values should know, from the metric and from how the images came into the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.store.records import Manifest

if TYPE_CHECKING:
    from bench.scoring.missing import Target


def image_notes(manifest: Manifest) -> list[str]:
    """What was noted of images from elsewhere when they were taken: it stands beside every value of theirs."""
    return [str(one) for one in dict(manifest.resolved_method.get("images") or {}).get("notes", ())]


def notes_on(metric: Any, target: Target) -> list[str]:
    """What an image or group metric has to say of its values for a run, such as how many of its prompts were cut."""
    if not hasattr(metric, "notes_for"):
        return list(metric.notes()) if hasattr(metric, "notes") else []
    try:
        return list(metric.notes_for([target.texts[prompt_id] for prompt_id in target.images]))
    except Exception:  # a prompt that no tokenizer takes: its images have no value, and the reason is theirs
        return []
