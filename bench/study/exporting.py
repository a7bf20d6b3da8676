"""`bench study export`: a study for raters who do not come to this server, or who come from a platform."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.errors import UsageError, unknown
from bench.runtime.log import get_logger
from bench.store.atomic import atomic_write
from bench.study.bundle import bundle, data_uri
from bench.study.folder import Shown, Study, open_study
from bench.study.keys import Keys
from bench.study.orders import Orders
from bench.study.serving import opened, public_address

logger = get_logger(__name__)
LABEL_STUDIO = "label-studio"
EQUAL = "About equal"
_CONFIG = """<View>
  <Header value="$question"/>
  <Text name="prompt" value="$prompt"/>
  <Pairwise name="choice" toName="left,right"/>
  <View style="display: grid; grid-template-columns: 1fr 1fr; column-gap: 16px">
    <Image name="left" value="$left"/>
    <Image name="right" value="$right"/>
  </View>
  <Choices name="equal" toName="left" choice="single">
    <Choice value="{equal}"/>
  </Choices>
</View>
"""


def export(
    folder: Path | str,
    kind: str,
    out: Path | str,
    *,
    url: str | None = None,
    raters: int | None = None,
    database: str | None = None,
) -> list[Path]:
    """Write a study for use elsewhere; returns the files. Existing files are not overwritten.

    `kind` is bundle (a folder with one HTML file a rater, which needs no server), prolific or mturk (a CSV with a link
    and a completion code a rater; `url` is the address that raters reach `bench study serve` by), or label-studio (a
    JSON file of pairwise tasks and, beside it, the labelling configuration). A bundle of an adaptive study is drawn by
    the votes that are in the study now, so that later ones know more. UsageError: an unknown kind, a file that exists,
    links without `url`, or Label Studio for an adaptive study.
    """
    if kind not in KINDS:
        raise unknown("kind of export", kind, KINDS)
    study = open_study(folder)
    keys = Keys.of(study.folder, study.plan)
    return KINDS[kind](_Export(study, keys, _first(study, raters), Path(out), url, database))


@dataclass(frozen=True)
class _Export:
    """What is exported, for which raters, and where to."""

    study: Study
    keys: Keys
    names: Sequence[str]
    out: Path
    url: str | None
    database: str | None


def _first(study: Study, raters: int | None) -> list[str]:
    names = list(study.plan)
    if raters is not None and not 1 <= raters <= len(names):
        raise UsageError(f"--raters {raters}: the study was made for {len(names)} raters")
    return names[:raters]


def _new(path: Path) -> Path:
    if path.exists():
        raise UsageError(f"{path} already exists: move it, or choose another --out")
    return path


def _bundles(one: _Export) -> list[Path]:
    out = one.out
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: bundles go into a folder, choose another --out")
    paths = [_new(out / f"study-{name}.html") for name in one.names]
    for (name, order), path in zip(_orders(one).items(), paths, strict=True):
        atomic_write(path, bundle(one.study, one.keys, name, order))
    return paths


def _orders(one: _Export) -> dict[str, tuple[Shown, ...]]:
    """What each rater is shown; of an adaptive study it is drawn now, and kept beside the votes."""
    if one.study.adaptive is None:
        return {name: one.study.plan[name] for name in one.names}
    _, _, votes = opened(one.study.folder, one.database)
    try:
        orders = Orders(one.study, votes)
        found = {name: orders.of(name) for name in one.names}
    finally:
        votes.close()
    for name, order in found.items():
        if not order:
            raise UsageError(f"the answers of rater {name} were removed, so there is no bundle for it")
    return found


def _links(one: _Export) -> list[Path]:
    if one.url is None:
        raise UsageError("links need --url, the address that raters reach the server by, such as https://study.example")
    url, keys = public_address(one.url), one.keys
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        logger.warning("links without https can be read on the way, and whoever reads one can vote with it")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["url", "completion_code"])
    for name in one.names:
        writer.writerow([f"{url}/r/{keys.token(name)}", keys.completion(name)])
    atomic_write(_new(one.out), text.getvalue())
    return [one.out]


def _label_studio(one: _Export) -> list[Path]:
    """Every real item and check once, half of them with method a on the left; its annotators are not the study's."""
    study, keys, out = one.study, one.keys, one.out
    if study.adaptive:
        raise UsageError(
            "an adaptive study draws each rater's items by chances, and Label Studio shows all items to everybody: "
            "export bundles or links, or make a study without --adaptive"
        )
    config = _new(out.with_suffix(".xml"))
    _new(out)
    tasks = []
    shown = sorted(
        (item for item in study.items.values() if item.kind in ("real", "check")),
        key=lambda item: keys.item(LABEL_STUDIO, item.item),
    )
    for index, item in enumerate(shown):
        a_left = index % 2 == 0
        left, right = (item.asset_a, item.asset_b) if a_left else (item.asset_b, item.asset_a)
        data = {
            "item": label_studio_handle(keys, item.item, a_left),
            "question": study.question(item.task),
            "prompt": item.prompt,
            "left": data_uri(study, left),
            "right": data_uri(study, right),
        }
        tasks.append({"data": data})
    atomic_write(out, json.dumps(tasks, ensure_ascii=False, indent=1))
    atomic_write(config, _CONFIG.format(equal=EQUAL))
    return [out, config]


def label_studio_handle(keys: Keys, item: str, a_left: bool) -> str:
    """What stands for an item in Label Studio; it holds which method is on the left, and does not show it."""
    return keys.item(f"{LABEL_STUDIO}/{'a' if a_left else 'b'}", item)


KINDS: dict[str, Callable[[_Export], list[Path]]] = {
    "bundle": _bundles,
    "prolific": _links,
    "mturk": _links,
    LABEL_STUDIO: _label_studio,
}
