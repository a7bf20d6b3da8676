"""The pages that the server sends, from templates that escape all they are given."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.study.folder import Study
from bench.study.store import CONSENTED, FORGOTTEN

if TYPE_CHECKING:
    from bench.study.sessions import Sessions

NOT_STORED = (
    "Your answer could not be stored just now, since the server cannot write to its disk or database. Nothing that you "
    "answered before is lost. Please leave this page open and press the button in a few minutes."
)


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("bench.study", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def rendered(template: str, **values: Any) -> str:
    """A template of `bench/study/assets` with these values; all text in them is escaped."""
    return str(_environment().get_template(template).render(**values))


def rater_page(study: Study, base: str, csrf: str) -> str:
    """The page of a rater; `base` is the path that its requests begin with."""
    its = study.manifest
    return rendered(
        "rater.html.j2",
        base=base,
        csrf=csrf,
        instructions=paragraphs(its["instructions"]),
        consent=paragraphs(its["consent"]),
    )


def message_page(sentence: str) -> str:
    """A page that says one thing."""
    return rendered("message.html.j2", sentence=sentence)


def paragraphs(text: str) -> list[str]:
    """Text split at its line ends, without empty ones."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def admin_page(sessions: Sessions, origin: str) -> str:
    """How far all raters are, with their links. It says nothing of what they chose."""
    votes = sessions.votes
    counts, states, now = votes.counts(), votes.raters(), time.time()
    rows = []
    for rater in sessions.study.plan:
        total = sessions.study.total(rater)
        count, last = counts.get(rater, (0, 0.0))
        rows.append(
            {
                "rater": rater,
                "state": _state(states.get(rater, ""), count, total),
                "done": count,
                "total": total,
                "last": _ago(now - last) if last else "",
                "link": f"{origin}/r/{sessions.keys.token(rater)}",
                "code": sessions.keys.completion(rater),
            }
        )
    others = sorted(set(counts) - set(sessions.study.plan))
    return rendered(
        "admin.html.j2",
        study=sessions.study.id,
        rows=rows,
        finished=sum(row["state"] == "finished" for row in rows),
        stored=sum(count for count, _ in counts.values()),
        planned=sum(map(sessions.study.total, sessions.study.plan)),
        decided=_decided(sessions),
        others=[{"rater": rater, "done": counts[rater][0]} for rater in others],
    )


def _decided(sessions: Sessions) -> list[str]:
    """Of an adaptive study, how far it is; which method wins is not said."""
    told = []
    for task, (done, pairs, taken, planned) in sessions.orders.decided().items():
        told.append(f"{task}: {done} of {pairs} pairs decided, {taken} of {planned} looks taken")
    return told


def _state(state: str, count: int, total: int) -> str:
    if state == FORGOTTEN:
        return "removed"
    if count >= total:
        return "finished"
    return "under way" if state == CONSENTED else "not begun"


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{max(0, int(seconds))} s ago"
