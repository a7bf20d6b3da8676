"""The images of a run as a data set with a Croissant description (https://docs.mlcommons.org/croissant, version 1.0).

The folder holds what a repository of data needs: the images, a table of them, and `croissant.json`, in which each
record is an image with its prompt, sample, seed and digest. `mlcroissant validate` accepts it.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.analysis.opened import open_runs
from bench.errors import UsageError
from bench.formatting import one_line
from bench.store.atomic import atomic_write, make_folder, read_bytes
from bench.store.digests import sha256_of
from bench.store.on_object_stores import on_object_stores
from bench.store.pictures import verifying
from bench.store.records import ImageRow
from bench.store.runs import Run
from bench.store.select import RunSource, display_names

logger = logging.getLogger(__name__)

FILE, TABLE, IMAGES = "croissant.json", "images.jsonl", "images"
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_COLUMNS: Mapping[str, tuple[str, str]] = {  # column -> its type, and what it is
    "file": ("sc:Text", "path of the image below the folder of this file"),
    "prompt_id": ("sc:Text", "id of the prompt"),
    "prompt": ("sc:Text", "the text that the image was generated from"),
    "sample": ("sc:Integer", "number of the image among those of its prompt, from 0"),
    "seed": ("sc:Integer", "random seed of the run; the noise is a function of it, the prompt id and the sample"),
    "sha256": ("sc:Text", "sha256 of the image file"),
}
# What the keys of the description mean: the vocabulary that version 1.0 prescribes.
_TERMS = (
    "citeAs column fileProperty fileObject fileSet format includes isLiveDataset jsonPath key md5 parentField path "
    "recordSet references regex repeated replace samplingRate separator source subField transform extract field "
    "equivalentProperty"
)
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS.split()},
}


@on_object_stores(pictures=True)
def export_croissant(
    run: RunSource,
    out: Path | str,
    *,
    licence: str | None = None,
    creator: str | None = None,
    url: str | None = None,
    results: Path | str = Path("results"),
    suite: str | None = None,
) -> list[Path]:
    """Copy a run's images to the new folder `out`, with `images.jsonl` and `croissant.json`; returns the last two.

    `licence` is an address of a licence or its SPDX name, `creator` a name, `url` the page of the data set: what is not
    given is absent, and said. Every image is read and has to have its digest. UsageError: several runs, a run without
    images or with damaged ones, or an `out` that is there already.

    >>> import bench
    >>> [path.name for path in bench.export_croissant("base", OUT, licence="CC-BY-4.0", results=RESULTS)]
    ['images.jsonl', 'croissant.json']
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already and not empty: give another --out")
    with verifying(True):
        opened, left_out, _ = open_runs(run, results, suite)
    if len(opened) != 1 or left_out:
        names = ", ".join(one.name for one in opened[:6])
        raise UsageError(f"a data set is of one finished run, and {len(opened)} were found ({names}): name one")
    chosen = opened[0]
    rows = _rows(chosen)
    for row in rows:  # all of them, before anything is written
        _check(chosen.path / row.path, row.sha256)
    table = _table(rows)
    about = {"license": licence, "creator": creator, "url": url}
    for key, value in about.items():
        if value is None:
            logger.warning(f"{FILE} says no {key}: give --{'license' if key == 'license' else key}, or add it there")
    for row in rows:
        target = out / IMAGES / Path(row.path).relative_to("images")
        make_folder(target.parent)
        shutil.copyfile(chosen.path / row.path, target)
    atomic_write(out / TABLE, table)
    description = croissant_of(chosen, display_names([chosen])[0], table, about)
    atomic_write(out / FILE, json.dumps(description, indent=1, ensure_ascii=False) + "\n")
    return [out / TABLE, out / FILE]


def _check(path: Path, digest: str) -> None:
    try:
        same = sha256_of(read_bytes(path)) == digest
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}): run the `bench run` command that made it"
        ) from None
    if not same:
        raise UsageError(f"{path} is damaged: run the `bench run` command that made it again")


def _rows(run: Run) -> list[ImageRow]:
    """The images that the manifest covers, by prompt and sample. Raises UsageError where some are missing."""
    if run.store is None:
        raise UsageError(f"{run.name} has no images: a data set needs a run folder")
    order = {prompt_id: index for index, (prompt_id, _) in enumerate(run.prompts)}
    rows = [row for row in run.store.images() if row.prompt_id in order and row.sample < run.samples]
    if missing := len(order) * run.samples - len(rows):
        raise UsageError(f"{run.name} lacks {missing} of its images: run the `bench run` command that made it again")
    return sorted(rows, key=lambda row: (order[row.prompt_id], row.sample))


def _table(rows: Sequence[ImageRow]) -> str:
    """JSON Lines and no CSV: a prompt may begin like a formula, and has to stay what the image was made from."""
    lines = []
    for row in rows:
        name = f"{IMAGES}/{Path(row.path).relative_to('images').as_posix()}"
        values = (name, row.prompt_id, row.prompt, row.sample, row.seed, row.sha256)
        lines.append(json.dumps(dict(zip(_COLUMNS, values, strict=True)), ensure_ascii=False) + "\n")
    return "".join(lines)


def croissant_of(run: Run, shown: str, table: str, about: Mapping[str, str | None]) -> dict[str, Any]:
    """The description as JSON-LD; `table` is the content of `images.jsonl`, `about` license, creator and url."""
    description: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": _name(run),
        "description": _description(run, shown),
        "version": "1.0.0",
        "isLiveDataset": False,
        "keywords": ["text-to-image", "synthetic", "imagerefl-bench", run.suite, run.method],
        "distribution": [_table_file(table), _image_files(run)],
        "recordSet": [_record_set()],
    }
    made = run.store.manifest().provenance.get("created") if run.store is not None else None
    if made:
        description["datePublished"] = str(made)
    if about.get("license"):
        description["license"] = _licence(str(about["license"]))
    if about.get("creator"):
        description["creator"] = {"@type": "sc:Person", "name": about["creator"]}
    if about.get("url"):
        description["url"] = about["url"]
    return description


def _name(run: Run) -> str:
    return f"{run.suite}-{run.name.replace('@', '-')}"


def _licence(text: str) -> str:
    return text if "://" in text else f"https://spdx.org/licenses/{text}.html"


def _description(run: Run, shown: str) -> str:
    conditions = ", ".join(f"{key} {value}" for key, value in run.conditions.items() if not isinstance(value, dict))
    told = (
        f"{len(run.prompts) * run.samples} images that the method {shown} generated for the {len(run.prompts)} prompts "
        f"of suite {run.suite}, {run.samples} a prompt, run {run.name}"
    )
    return one_line(f"{told}; {conditions}. Synthetic: no image is a photograph." if conditions else f"{told}.")


def _table_file(table: str) -> dict[str, Any]:
    content = table.encode()
    return {
        "@type": "cr:FileObject",
        "@id": TABLE,
        "name": TABLE,
        "description": "One line an image, as a JSON object.",
        "contentUrl": TABLE,
        "contentSize": f"{len(content)} B",
        "encodingFormat": "application/jsonlines",
        "sha256": sha256_of(content),
    }


def _image_files(run: Run) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": "image-files",
        "name": "image-files",
        "description": f"The images of run {run.name}, lossless, <prompt id>/<sample>.png.",
        "encodingFormat": "image/png",
        "includes": f"{IMAGES}/*/*.png",
    }


def _record_set() -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"images/{name}",
            "name": name,
            "description": meaning,
            "dataType": kind,
            "source": {"fileObject": {"@id": TABLE}, "extract": {"column": name}},
        }
        for name, (kind, meaning) in _COLUMNS.items()
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "The generated images with their prompts.",
        "key": {"@id": "images/file"},
        "field": fields,
    }
