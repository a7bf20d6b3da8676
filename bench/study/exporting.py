"""`bench study export`: a study for raters who do not come to this server, or who come from a platform."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from bench.errors import UsageError, unknown
from bench.runtime.log import get_logger
from bench.store.atomic import atomic_write
from bench.study.bundle import bundle, data_uri
from bench.study.folder import Study, open_study
from bench.study.keys import Keys

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
) -> list[Path]:
    """Write a study for use elsewhere; returns the files. Existing files are not overwritten.

    `kind` is bundle (a folder with one HTML file a rater, which needs no server), prolific or mturk (a CSV with a link
    and a completion code a rater; `url` is the address that raters reach `bench study serve` by), or label-studio (a
    JSON file of pairwise tasks and, beside it, the labelling configuration). UsageError: an unknown kind, a file that
    exists, or links without `url`.
    """
    study = open_study(folder)
    keys = Keys.of(study.folder, study.plan)
    names = _first(study, raters)
    out = Path(out)
    if kind not in KINDS:
        raise unknown("kind of export", kind, KINDS)
    return KINDS[kind](study, keys, names, out, url)


def _first(study: Study, raters: int | None) -> list[str]:
    names = list(study.plan)
    if raters is not None and not 1 <= raters <= len(names):
        raise UsageError(f"--raters {raters}: the study was made for {len(names)} raters")
    return names[:raters]


def _new(path: Path) -> Path:
    if path.exists():
        raise UsageError(f"{path} already exists: move it, or choose another --out")
    return path


def _bundles(study: Study, keys: Keys, names: Sequence[str], out: Path, url: str | None) -> list[Path]:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: bundles go into a folder, choose another --out")
    paths = [_new(out / f"study-{name}.html") for name in names]
    for name, path in zip(names, paths, strict=True):
        atomic_write(path, bundle(study, keys, name))
    return paths


def _links(study: Study, keys: Keys, names: Sequence[str], out: Path, url: str | None) -> list[Path]:
    parts = urlsplit(url or "")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError("links need --url, the address that raters reach the server by, such as https://study.example")
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        logger.warning("links without https can be read on the way, and whoever reads one can vote with it")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["url", "completion_code"])
    for name in names:
        writer.writerow([f"{(url or '').rstrip('/')}/r/{keys.token(name)}", keys.completion(name)])
    atomic_write(_new(out), text.getvalue())
    return [out]


def _label_studio(study: Study, keys: Keys, names: Sequence[str], out: Path, url: str | None) -> list[Path]:
    """Every real item and check once, half of them with method a on the left; its annotators are not the study's."""
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


KINDS: dict[str, Callable[[Study, Keys, Sequence[str], Path, str | None], list[Path]]] = {
    "bundle": _bundles,
    "prolific": _links,
    "mturk": _links,
    LABEL_STUDIO: _label_studio,
}
