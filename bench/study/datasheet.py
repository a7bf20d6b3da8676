"""DATASHEET.md: what a study's data are, how they come about and what they may be used for.

The questions are those of Gebru et al., "Datasheets for Datasets" (Communications of the ACM 64(12), 2021), as far as a
program can answer them; what only people can answer is a line to fill in.
"""

from __future__ import annotations

from collections import Counter

from bench.formatting import counted, escape_markdown, markdown_table
from bench.store.atomic import atomic_write
from bench.study.folder import Study

DATASHEET = "DATASHEET.md"
OPEN = "_to be filled in by those who run the study_"


def write_datasheet(study: Study) -> None:
    """Write the sheet into the study's folder. One that is there, perhaps with answers filled in, is kept."""
    path = study.folder / DATASHEET
    if not path.exists():
        atomic_write(path, datasheet(study))


def datasheet(study: Study) -> str:
    """The sheet as Markdown. Names, prompts and texts of the study stand in it as literal text."""
    its = study.manifest
    kinds = Counter(item.kind for item in study.items.values())
    methods = [(escape_markdown(one["name"]), escape_markdown(one["run"])) for one in its["methods"]]
    prompts = {item.prompt_id for item in study.items.values() if item.kind == "real"}
    shown = sum(map(study.total, study.plan))
    extras = its["extras"]
    parts = [
        "# Data sheet of a human preference study",
        f"Study {its['study']}, made {its['created']} by `bench study make` (schema version {its['schema_version']}).",
        "## Motivation",
        f"To compare text-to-image methods by people's judgement. Who runs and pays for it: {OPEN}.",
        "## Composition",
        f"{counted(kinds['real'], 'item')} over {counted(len(prompts), 'prompt')} of the suite "
        f"{escape_markdown(its['suite'])}, {counted(len(study.plan), 'rater')} with {its['per_rater']} items each "
        f"({shown:,} showings in all, with practice, checks and repeats), {its['votes']} votes an item planned.",
        "\n".join(markdown_table(("method", "run"), methods)),
        "Questions:\n\n" + "\n".join(f"- {task}: {escape_markdown(study.question(task))}" for task in its["tasks"]),
        f"A rater also answers, per task, {extras['practice']} practice items (never counted) and {extras['checks']} "
        f"checks with an obvious answer, and {extras['repeats']} items a second time with the sides swapped.",
        "A row of the data is one answer: item, rater's code, chosen side, which method stood on which side, place in "
        "the order, seconds from showing to answering, when it was stored, and where it came from.",
        "## Collection",
        "Raters see a consent text first and vote after agreeing to it. Methods, file names, order and metadata are "
        "not shown or sent; sides and order differ by rater. The pictures differ from the runs' own in the last bit of "
        "one pixel in eight.",
        "Consent text as shown:\n\n" + "\n".join(f"> {escape_markdown(line)}" for line in its["consent"].splitlines()),
        f"How raters were found and paid, and which review board approved it: {OPEN}.",
        "## Personal data",
        "None beyond a random code per rater, in a link. Addresses, browsers and accounts are not stored; the server "
        "keeps request rates by address in memory only. `bench study forget RATER` removes all rows of a rater, of the "
        "database and its log; copies that were exported or published before have to be removed by hand.",
        "## Preprocessing and known limits",
        "\n".join(f"- {escape_markdown(note)}" for note in its["notes"]) or "Nothing was left out or made equal.",
        "## Uses and distribution",
        f"Licence of the answers and of the pictures: {OPEN}. While raters vote, keep `study.json`, `items.jsonl`, "
        "`plan.jsonl` and `study.key` to yourself: they say which method stands where. Publish without `study.key`.",
        "## Maintenance",
        f"Contact for questions and deletions: {OPEN}.",
    ]
    return "\n\n".join(parts) + "\n"
