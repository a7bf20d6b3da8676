"""`bench agreement`: metrics held against a table of human votes, as text and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.formatting import aligned, counted, one_line, printable
from bench.reporting.study_rows import interval_row, metric_row, number
from bench.reporting.study_tables import WIDTH, share
from bench.runtime.progress import Progress, Silent
from bench.study.trust import Lead, Prepared, Trust, prepare, trust
from bench.study.vote_pictures import ABSENT, Pictured, pictured
from bench.study.vote_scores import Scored, metrics_for, scores_of
from bench.study.vote_tables import read_table
from bench.suite.load import load_suite
from bench.suite.schema import Suite
from metrics import Kind, info

SURE = 0.05
_CHANCE = 0.5


@dataclass(frozen=True)
class Agreement:
    """What the votes say of the metrics. `failed`: the error of metrics that could not be scored, where others were."""

    text: str
    data: dict[str, Any]
    trust: Trust
    failed: Exception | None = None


def agreement(
    votes: Path | str,
    *,
    suite: str | Path | Suite = "images",
    metrics: Sequence[str] | None = None,
    images: Path | str | None = None,
    results: Path | str = Path("results"),
    device: str = "auto",
    progress: Progress | None = None,
) -> Agreement:
    """Hold metrics against a table of human votes on pairs of images, or of sets of images, of one prompt.

    `votes` is a file of Pick-a-Pic, HPDv2 or plain rows (docs/agreement.md), whose pictures lie in `images` (default:
    the file's folder). `suite` says with which weights the `metrics` (default: all of it that fit) are scored; features
    are cached in `results`. MissingError: no picture is there, or no metric can be loaded. UsageError: another file, or
    a metric that has no value of such images.

    >>> import bench, json
    >>> row = {"prompt": "a red circle", "a": "base@f968f89e/images/s-000/0.png", "rater": "r1", "choice": "a"}
    >>> row["b"] = "refl@ad6b75db/images/s-000/0.png"
    >>> _ = (RESULTS / "votes.jsonl").write_text(json.dumps(row))
    >>> how = {"images": RESULTS / "runs" / "small", "results": RESULTS, "device": "cpu"}
    >>> found = bench.agreement(RESULTS / "votes.jsonl", suite="shapes", metrics=["pickscore"], **how)
    >>> found.data["votes"], found.data["unit"]
    (1, 'image')
    """
    file, root = Path(votes), Path(results)
    chosen = suite if isinstance(suite, Suite) else load_suite(suite)
    table = read_table(file)
    found = pictured(table, file, None if images is None else Path(images), root / "cache" / "votes")
    chosen, unfit = metrics_for(chosen, metrics, found.sets)
    scored, error = scores_of(found, chosen, device, root / "cache", progress or Silent())
    ready = prepare(found)
    judged = trust(ready.votes, ready.items, {one.name: one.differences(ready.prompts, ready.sides) for one in scored})
    notes = [*table.notes, *_notes(found, ready, scored, judged, unfit)]
    data = _data(judged, found, ready, scored) | {"file": file.name, "form": table.form, "notes": notes}
    return Agreement("\n".join(_lines(judged, found, ready, notes)), data, judged, error)


def _notes(
    found: Pictured, ready: Prepared, scored: Sequence[Scored], judged: Trust, unfit: Mapping[str, str]
) -> Iterator[str]:
    for why, count in found.left_out.most_common():
        more = f" ({counted(len(found.absent), 'picture')}, the first is {found.absent[0]})" if why == ABSENT else ""
        yield f"{counted(count, 'row' if why != ABSENT else 'vote')} left out: {why}{more}"
    if ready.duplicates:
        yield f"{counted(ready.duplicates, 'vote')} left out: a rater's second answer to a pair"
    unnamed = sum(not vote.rater for vote in found.votes)
    if unnamed:
        yield (
            f"{counted(unnamed, 'vote')} without a rater: each counts as another person's, so that intervals are too "
            "narrow if few people gave many"
        )
    if found.sets and any(info(one.name).kind == Kind.IMAGE for one in scored):
        yield "a metric of single images has the mean over its pictures as the value of a set"
    sizes = {len(side.files) for pair in found.sides for side in pair}
    uneven = sum(len(a.files) != len(b.files) for a, b in found.sides)
    if uneven:
        yield (
            f"{counted(uneven, 'vote')} on sets of different sizes ({min(sizes)} to {max(sizes)} pictures): metrics "
            "that depend on the number of pictures favour the larger set"
        )
    votes = {one.metric: one.unscored for one in judged.metrics if one.unscored}
    for one in scored:
        if one.name in votes:
            yield f"{one.name}: {counted(votes[one.name], 'vote')} left out, as it has no value of a picture"
        yield from (f"{one.name}: {counted(n, 'value')} missing: {why}" for why, n in one.reasons.most_common(3))
        yield from (f"{one.name}: {note}" for note in one.notes)
    for why in dict.fromkeys(unfit.values()):
        yield f"not compared: {', '.join(name for name in unfit if unfit[name] == why)}: {why}"


def _data(judged: Trust, found: Pictured, ready: Prepared, scored: Sequence[Scored]) -> dict[str, Any]:
    cards = {one.name: one.card for one in scored}
    unnamed = any(not vote.rater for vote in found.votes)
    rows = []
    for one in judged.metrics:
        row = metric_row(one)
        for key in ("prediction_powered", "why_not_powered"):
            del row[key]
        rows.append({**row, "card": cards[one.metric]})
    leads = [
        {
            "metric": one.metric,
            "over": one.over,
            "accuracy": interval_row(one.difference),
            "p": number(one.p),
            "p_holm": number(one.p_holm),
        }
        for one in judged.leads
    ]
    return {
        "schema_version": 1,
        "unit": "set" if found.sets else "image",
        "votes": len(ready.votes),
        "ties": int((ready.votes.y == 0.5).sum()),
        "pairs": len(ready.items),
        "prompts": len(ready.votes.prompt_names),
        "raters": None if unnamed else len(ready.votes.rater_names),
        "left_out": dict(found.left_out) | ({"second answers": ready.duplicates} if ready.duplicates else {}),
        "metrics": rows,
        "differences": leads,
    }


def _lines(judged: Trust, found: Pictured, ready: Prepared, notes: Sequence[str]) -> Iterator[str]:
    votes = ready.votes
    unnamed = any(not vote.rater for vote in found.votes)
    raters = "raters who are not named" if unnamed else counted(len(votes.rater_names), "rater")
    unit = "pairs of sets of images" if found.sets else "pairs of images"
    yield f"{counted(len(votes), 'vote')} ({int((votes.y == 0.5).sum()):,} ties) of {raters}"
    yield f"on {len(ready.items):,} {unit} of {counted(len(votes.prompt_names), 'prompt')}"
    yield ""
    head = ("metric", "accuracy", "Kendall's tau", "Spearman")
    rows = [(one.metric, share(one.accuracy), share(one.tau), share(one.spearman)) for one in judged.metrics]
    yield aligned(head, rows).rstrip()
    yield ""
    told = [*_said(judged), *notes]
    reasons = {one.accuracy.reason for one in judged.metrics if one.accuracy.reason and one.accuracy.n}
    for sentence in [*told, *sorted(reason for reason in reasons if reason)]:
        yield textwrap.fill(printable(one_line(sentence)), WIDTH, initial_indent="- ", subsequent_indent="  ")


def _said(judged: Trust) -> Iterator[str]:
    """What the numbers allow one to say, in sentences."""
    yield (
        "Accuracy: the share of decided votes for the metric's favourite, 0.5 is chance; tau and Spearman are over "
        "pairs, ties of votes included. 95 % intervals over raters and prompts"
    )
    best, *others = judged.metrics
    found = [(one.metric, lead) for one in others if (lead := judged.lead(best.metric, one.metric)) is not None]
    behind = [(name, lead) for name, lead in found if lead.p_holm < SURE and lead.difference.mean > 0]
    level = [name for name, lead in found if not (lead.p_holm < SURE and lead.difference.mean > 0)]
    if behind:
        listed = ", ".join(f"{name} ({_gap(lead)})" for name, lead in behind)
        yield f"{best.metric} is right more often than {listed}, after Holm's correction for {_pairs(judged)}"
    if level:
        yield f"Cannot be told from {best.metric}, the highest: {', '.join(level)}"
    for what, names in _against_chance(judged).items():
        if names:
            yield f"{what}: {', '.join(names)}"


def _pairs(judged: Trust) -> str:
    return f"{counted(len(judged.leads), 'pair')} of metrics"


def _gap(lead: Lead) -> str:
    one = lead.difference
    return f"by {one.mean:.2f} [{one.low:.2f}, {one.high:.2f}]"


def _against_chance(judged: Trust) -> dict[str, list[str]]:
    """Metrics whose interval of 95 % does not lie above chance, by what may be said of them."""
    found: dict[str, list[str]] = {"No better than chance as far as these votes tell": [], "Surely against people": []}
    level, contrary = found.values()
    for one in judged.metrics:
        if one.accuracy.high < _CHANCE:
            contrary.append(one.metric)
        elif not one.accuracy.low > _CHANCE:
            level.append(one.metric)
    return found
