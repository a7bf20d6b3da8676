"""A rater votes while the disk of the study is full: `python full_disk.py FOLDER`, in a small file system of its own.

Prints JSON: what each request came to, and how many votes are stored.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.study.client import ClientError, RaterClient
from bench.study.folder import open_study
from bench.study.keys import Keys
from bench.study.serving import running
from bench.study.sessions import Sessions
from bench.study.store import open_votes


def fill(file: Path) -> None:
    """Write until not a single byte has room."""
    with file.open("ab", buffering=0) as target:
        for size in (65536, 4096, 512, 64, 1):
            try:
                while target.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


def outcome(act: Callable[[], Any]) -> str:
    try:
        return f"stored: {act()['stored']}"
    except ClientError as error:
        return str(error)


def main(folder: Path) -> None:
    study = open_study(folder)
    keys, votes = Keys.of(folder, study.plan), open_votes(study)
    told: dict[str, Any] = {}
    with running(Sessions(study, keys, votes)) as origin:
        client = RaterClient(f"{origin}/r/{keys.token('r0001')}")
        client.open()
        state = client.consent()
        for _ in range(3):
            state = client.vote(state["item"]["id"], "left", 1.0)["state"]
        item = state["item"]["id"]
        fill(folder.parent / "filler")
        told["full"] = outcome(lambda: client.vote(item, "right", 1.0))
        told["shown"] = client.state()["done"]
        told["kept"] = len(list(votes.answers()))
        (folder.parent / "filler").unlink()
        told["room"] = outcome(lambda: client.vote(item, "right", 1.0))
        told["choices"] = [answer.choice for answer in votes.answers()]
        client.close()
    votes.close()
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
