"""Studies that tests judge: votes of raters who differ, and the same as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench.study.votes import Item, Vote

METHODS = ("base", "refl", "imagerefl")


def simulated(
    seed: int = 0,
    quality: Sequence[float] = (0.0, 0.6, 1.2),
    raters: int = 8,
    prompts: int = 10,
    task: str = "preference",
    ties: float = 0.4,
    spammers: int = 0,
) -> list[Vote]:
    """Each rater answers every pair on every other prompt; the last `spammers` raters click at random."""
    rng, votes = np.random.default_rng(seed), []
    names = METHODS[: len(quality)]
    effect = 0.4 * rng.normal(size=(prompts, len(quality)))
    for rater in range(raters):
        taste, order = 0.3 * rng.normal(size=len(quality)), 0
        for prompt in range(rater % 2, prompts, 2):
            for a in range(len(names)):
                for b in range(a + 1, len(names)):
                    d = quality[a] - quality[b] + effect[prompt, a] - effect[prompt, b] + taste[a] - taste[b]
                    d += rng.logistic()
                    y = 0.5 if abs(d) < ties else float(d > 0)
                    if rater >= raters - spammers:
                        y = float(rng.choice([0.0, 0.5, 1.0]))
                    item = f"{task[0]}{prompt}-{a}{b}"
                    left = names[a] if rng.random() < 0.5 else names[b]
                    where = (f"p{prompt}", names[a], names[b])
                    votes.append(Vote(item, task, f"r{rater:02d}", *where, y, left, order, 2.0 + rng.random()))
                    order += 1
    return votes


def items_of(votes: Sequence[Vote]) -> dict[str, Item]:
    """The items of votes."""
    return {
        vote.item: Item(
            vote.item, vote.task, vote.prompt_id, f"a picture {vote.prompt_id}", vote.method_a, vote.method_b
        )
        for vote in votes
    }


def with_checks(votes: Sequence[Vote], each: int = 4, spammers: int = 0) -> tuple[list[Vote], dict[str, Item]]:
    """The votes with checks of every rater; spammers fail every other one."""
    items, found = items_of(votes), list(votes)
    raters = sorted({vote.rater for vote in votes})
    for k in range(each):
        items[f"c{k}"] = Item(f"c{k}", "preference", "check", "", "base", "spoiled", check=1.0)
        for n, rater in enumerate(raters):
            right = n < len(raters) - spammers or k % 4 == 0
            y = 1.0 if right else 0.0
            found.append(Vote(f"c{k}", "preference", rater, "check", "base", "spoiled", y, "base", 99, 2.0, "check"))
    return found, items


def write_study(folder: Path, votes: Sequence[Vote], items: dict[str, Item] | None = None, **manifest: object) -> Path:
    """A study folder with votes.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    methods = sorted({name for vote in votes for name in (vote.method_a, vote.method_b)})
    told = {"schema_version": 1, "tasks": sorted({vote.task for vote in votes}), "methods": methods, "seed": 0}
    (folder / "study.json").write_text(json.dumps({**told, **manifest}))
    rows = [{k: None if v != v else v for k, v in asdict(vote).items()} for vote in votes]
    (folder / "votes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    known = items_of(votes) if items is None else items
    (folder / "items.jsonl").write_text("".join(json.dumps(asdict(item)) + "\n" for item in known.values()))
    return folder
