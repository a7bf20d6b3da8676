"""`bench study simulate`: raters of the embedded world answer a study through its own web server."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from bench.errors import UsageError
from bench.formatting import counted
from bench.runtime.log import get_logger
from bench.runtime.progress import Progress, Silent
from bench.study.annotators import Eyes, Habits, SimulatedRater
from bench.study.client import RaterClient
from bench.study.folder import Study
from bench.study.serving import opened, running
from bench.study.sessions import Sessions
from bench.study.store import FORGOTTEN, SIMULATED

logger = get_logger(__name__)
_FAST = 1e6  # requests a second that a simulated rater may send: the server is this process's own


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a simulation did: raters who finished, answers that the server stored, and its seconds."""

    raters: int
    votes: int
    seconds: float


def simulate(
    folder: Path | str,
    *,
    raters: int | None = None,
    seed: int = 0,
    ties: float = 0.6,
    lapse: float = 0.02,
    position_bias: float = 0.0,
    spammers: float = 0.0,
    database: str | None = None,
    progress: Progress | None = None,
) -> Simulated:
    """Let `raters` of a study's raters (all of them by default) be answered for by annotators of the embedded world.

    `ties` is the weight of a tie (at equal worth a tie has the probability ties / (2 + ties)), `lapse` the share of
    blind answers, `position_bias` is added to the log odds of the left side, `spammers` is the share of raters who
    never look. The same seed gives the same answers; those that are there are kept, so an interrupted simulation goes
    on. UsageError: the study has answers of people, or pictures of another world.
    """
    _check(ties=ties, lapse=lapse, position_bias=position_bias, spammers=spammers)
    study, keys, votes = opened(folder, database)
    begun = time.perf_counter()
    try:
        others = sum(count for source, count in votes.sources().items() if source != SIMULATED)
        if others:
            raise UsageError(
                f"{folder} has {counted(others, 'vote')} of people, which simulated ones must not mix with: make a "
                "study of its own for the simulation"
            )
        sessions = Sessions(study, keys, votes, SIMULATED)
        chosen = _chosen(study, votes.raters(), raters)
        habits = Habits(ties, lapse, position_bias)
        bar = progress or Silent()
        bar.start("answers", sum(map(study.total, chosen)))
        eyes, stored = Eyes(), 0
        with running(sessions, _FAST) as origin:
            for rater in chosen:
                who = SimulatedRater.drawn(seed, rater, habits, spammers)
                stored += _answer_all(f"{origin}/r/{keys.token(rater)}", who, f"{seed}:{rater}", study, eyes, bar)
        bar.finish()
    finally:
        votes.close()
    return Simulated(len(chosen), stored, time.perf_counter() - begun)


def _check(**shares: float) -> None:
    for name, value in shares.items():
        option = f"--{name.replace('_', '-')}"
        if not math.isfinite(value):
            raise UsageError(f"{option} {value} must be a finite number")
        if name in ("lapse", "spammers") and not 0 <= value <= 1:
            raise UsageError(f"{option} {value:g} must be between 0 and 1")
        if name == "ties" and value < 0:
            raise UsageError(f"{option} {value:g} must be at least 0")


def _chosen(study: Study, states: dict[str, str], raters: int | None) -> list[str]:
    open_ones = [rater for rater in study.plan if states.get(rater) != FORGOTTEN]
    if raters is not None and raters < 1:
        raise UsageError(f"--raters {raters} must be at least 1")
    if raters is not None and raters > len(open_ones):
        raise UsageError(
            f"--raters {raters}: the study was made for {counted(len(open_ones), 'rater')}; make it with more --votes "
            "or --raters"
        )
    return open_ones[:raters]


def _answer_all(link: str, who: SimulatedRater, seed: str, study: Study, eyes: Eyes, bar: Progress) -> int:
    """Answer all that waits for one rater; returns how many answers the server stored."""
    client, stored = RaterClient(link), 0
    alignment = study.question("alignment")
    try:
        client.open()
        state = client.state()
        if not state["consented"]:
            state = client.consent()
        while state["item"] is not None:
            item = state["item"]
            rng = Random(f"{seed}:{state['done']}")
            choice = who.choose(_difference(client, item, who, eyes, alignment), rng)
            seconds = 0.4 if who.spammer else math.exp(rng.gauss(1.2, 0.5))
            reply = client.vote(item["id"], choice, round(seconds, 3))
            stored += bool(reply["stored"])
            state = reply["state"]
            bar.advance()
    finally:
        client.close()
    return stored


def _difference(client: RaterClient, item: dict[str, Any], who: SimulatedRater, eyes: Eyes, alignment: str) -> float:
    """Worth of the left side minus that of the right one, from what the page shows and nothing else."""
    question = "alignment" if item["question"] == alignment and not item["set"] else ""
    left, right = (
        who.worth(eyes.see(client.picture(item[side]), item["set"]), question, item["prompt"], item["set"])
        for side in ("left", "right")
    )
    return left - right
