"""A rater's page as one file that needs no server: pictures, scripts and style inside, answers saved as a file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from bench.study import page
from bench.study.folder import Shown, Study
from bench.study.keys import Keys


def bundle(study: Study, keys: Keys, rater: str, shown: Sequence[Shown]) -> str:
    """The file for one rater, who is `shown` these items.

    Nothing in it names a method, and it may load nothing from anywhere.
    """
    items, pictures = [], {}
    for one in shown:
        item = study.items[one.item]
        sides = (item.asset_a, item.asset_b) if one.a_left else (item.asset_b, item.asset_a)
        handles = [keys.picture(rater, one.item, side) for side in ("left", "right")]
        for handle, asset in zip(handles, sides, strict=True):
            pictures[handle] = data_uri(study, asset)
        items.append(
            {
                "id": keys.item(rater, one.item),
                "question": study.question(item.task),
                "prompt": item.prompt,
                "set": item.task == "diversity",
                "practice": item.kind == "practice",
                "left": handles[0],
                "right": handles[1],
            }
        )
    data = {"study": study.id, "rater": rater, "items": items, "pictures": pictures}
    scripts, style = [_read("bundle.js"), _read("study.js")], _read("study.css")
    hashes = " ".join(map(_hash, scripts))
    its = study.manifest
    return page.rendered(
        "bundle.html.j2",
        policy=f"default-src 'none'; img-src data:; script-src {hashes}; style-src {_hash(style)}; base-uri 'none'",
        style=_safe(style),
        data=_safe(in_script(data)),
        scripts=list(map(_safe, scripts)),
        instructions=page.paragraphs(its["instructions"]),
        consent=page.paragraphs(its["consent"]),
    )


def data_uri(study: Study, asset: str) -> str:
    """A picture of the study as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(study.asset(asset).read_bytes()).decode()}"


def in_script(data: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(data, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)  # our own files, and JSON that `in_script` has made harmless


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _read(name: str) -> str:
    return (files("bench.study") / "assets" / name).read_text(encoding="utf-8")
