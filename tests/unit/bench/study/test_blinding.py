"""An attacker who has all responses of a rater and the runs' public pictures, and wants to name the methods."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bench.study
from bench.study import pictures
from bench.study.folder import Study
from bench.study.server import HEADERS
from bench.study.sessions import Sessions
from tests.unit.bench.study.conftest import METHODS, RUNS


def pixels_of(data: bytes) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def seen(rater: Callable[..., Any], sessions: Sessions) -> list[dict[str, Any]]:
    """All that one rater's browser receives, item by item, with what nobody tells the attacker: the left method."""
    one, found = rater(), []
    for shown in sessions.study.plan["r0001"]:
        state = one.get("/state")
        item = state.json()["item"]
        both = {side: one.get(f"/picture/{item[side]}") for side in ("left", "right")}
        study_item = sessions.study.items[shown.item]
        left = study_item.method_a if shown.a_left else study_item.method_b
        found.append({"state": state, "item": item, **both, "truth": left, "kind": study_item.kind})
        found[-1]["vote"] = one.vote("tie")
    found.append({"page": one.get()})
    return found


def test_no_response_has_a_digest_of_a_public_picture(seen: list[dict[str, Any]]) -> None:
    public = [path.read_bytes() for name in METHODS for path in (RUNS / name / "images").rglob("*.png")]
    assert len(public) == 24
    files = {hashlib.sha256(data).hexdigest() for data in public}
    decoded = {hashlib.sha256(pixels_of(data).tobytes()).hexdigest() for data in public}
    lengths = {len(data) for data in public}
    for one in seen[:-1]:
        for side in ("left", "right"):
            data = one[side].content
            assert hashlib.sha256(data).hexdigest() not in files
            assert hashlib.sha256(pixels_of(data).tobytes()).hexdigest() not in decoded
            assert len(data) not in lengths


def test_all_pictures_have_one_length_and_the_same_headers(seen: list[dict[str, Any]]) -> None:
    replies = [one[side] for one in seen[:-1] for side in ("left", "right")]
    assert len({len(reply.content) for reply in replies}) == 1
    assert len({tuple(sorted(reply.headers.items())) for reply in replies}) == 1


def test_pictures_carry_nothing_but_pixels(seen: list[dict[str, Any]]) -> None:
    for one in seen[:-1]:
        with Image.open(io.BytesIO(one["left"].content)) as image:
            assert not image.info
            assert not image.getexif()
        assert set(re.findall(rb"(?:IHDR|IDAT|paDd|IEND|tEXt|iTXt|zTXt|eXIf|tIME)", one["left"].content)) >= {b"IHDR"}
        assert not re.search(rb"tEXt|iTXt|zTXt|eXIf|tIME", one["left"].content)


def test_no_text_names_a_method_a_run_a_prompt_id_or_a_path(seen: list[dict[str, Any]], sessions: Sessions) -> None:
    texts = [one[key].text for one in seen[:-1] for key in ("state", "vote")] + [seen[-1]["page"].text]
    constant = {name.lower() for name in HEADERS}
    for one in seen[:-1]:
        texts.append(json.dumps({k: v for k, v in one["state"].headers.items() if k not in constant}))
    names = {part for name in METHODS for part in (*name.split("@"), name)} | {"(degraded)", "check", "repeat"}
    names |= {item.item for item in sessions.study.items.values()} | {
        item.asset_a for item in sessions.study.items.values()
    }
    names |= {str(sessions.study.folder), "small@"}
    for text in texts:
        for name in names:
            assert not re.search(rf"(?<![A-Za-z]){re.escape(name)}(?![A-Za-z])", text), name


def test_handles_tell_no_method_side_or_order(made: Path) -> None:
    """Over all raters, the alphabetical order of two handles says no more of the method than a coin."""
    from bench.study.keys import Keys

    study = bench.study.open_study(made)
    keys = Keys.of(study.folder, study.plan)
    hits = total = 0
    handles: set[str] = set()
    for rater, plan in study.plan.items():
        for shown in plan:
            left, right = (keys.picture(rater, shown.item, side) for side in ("left", "right"))
            handles |= {left, right}
            hits += (left < right) == shown.a_left
            total += 1
    assert len(handles) == 2 * total, "no handle is used twice, not even for the same picture"
    assert abs(hits - total / 2) < 3 * (total / 4) ** 0.5


def test_assets_are_named_and_dated_alike(study: Study) -> None:
    names = [path.name for path in study.asset("").iterdir()]
    assert all(re.fullmatch(r"[0-9a-f]{20}\.png", name) for name in names)
    assert len({path.stat().st_size for path in study.asset("").iterdir()}) == 1


def test_a_disguise_is_invisible_and_changes_pixels() -> None:
    rng = np.random.default_rng(0)
    for level in (0, 1, 128, 255):
        flat = np.full((32, 32, 3), level, dtype=np.uint8)
        moved = pictures.disguised(flat, rng)
        difference = np.abs(moved.astype(int) - flat.astype(int))
        assert difference.max() == 1
        assert 0.05 < (difference.max(axis=2) > 0).mean() < 0.2


def test_padding_keeps_the_picture_and_refuses_what_is_too_short() -> None:
    flat = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    data = pictures.encoded(flat)
    for length in (len(data) + 12, len(data) + 13, 5000):
        padded = pictures.padded(data, length)
        assert len(padded) == length
        assert (pixels_of(padded) == flat).all()
    with pytest.raises(ValueError, match="cannot pad"):
        pictures.padded(data, len(data) + 11)
    assert pictures.padded_length([len(data), 1012]) == 1024
    assert pictures.padded_length([1013]) == 2048


def test_the_same_seed_makes_the_same_study_and_another_one_another(made: Path, tmp_path: Path) -> None:
    runs = [RUNS / name for name in METHODS]
    bench.study.make(runs, tmp_path / "same", task="both", per_rater=8, votes=2, seed=11)
    bench.study.make(runs, tmp_path / "other", task="both", per_rater=8, votes=2, seed=12)
    for name in ("plan.jsonl", "items.jsonl"):
        text = (made / name).read_text()
        assert (tmp_path / "same" / name).read_text() == text
        assert (tmp_path / "other" / name).read_text() != text
    assert {path.name for path in (made / "assets").iterdir()} == {
        path.name for path in (tmp_path / "same/assets").iterdir()
    }
    assert (made / "study.key").read_text() != (tmp_path / "same" / "study.key").read_text()
    assert (made / "study.key").stat().st_mode & 0o077 == 0


def test_a_seed_that_is_not_given_is_drawn(tmp_path: Path) -> None:
    runs = [RUNS / name for name in METHODS[:2]]
    seeds = {bench.study.make(runs, tmp_path / name, per_rater=4).manifest["seed"] for name in ("a", "b")}
    assert len(seeds) == 2
    assert min(seeds) > 1000
