"""How a metric scores a run: values or reasons, the whole set with its jackknife, and what an interruption leaves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import bench.scoring.score as stage
from bench.errors import MissingError
from bench.scoring import blocks, worker
from bench.scoring.chunk import Chunk, Tools, with_names
from bench.scoring.feature_cache import FeatureCache
from bench.scoring.missing import Missing, Target, find_missing
from bench.scoring.reader import reading
from bench.scoring.reference import reference_sources
from bench.scoring.worker import Scorer
from bench.store import score_files
from bench.store.parts import write_part as really_write_part
from bench.store.records import ScoreRow
from bench.store.runs import read_run
from bench.suite.schema import Reference
from metrics.set.frechet import frechet_distance
from metrics.set.moments import Moments
from tests.tolerance import assert_close
from tests.unit.bench.scoring.fakes import REFUSED, SeenGroup, SeenImage, SeenSet, target

REFERENCE = Reference(kind="shapes", count=20, seed=3)
Make = Callable[..., Scorer]


@pytest.fixture
def make(tmp_path: Path, said: list[str]) -> Iterator[Make]:
    with reading() as reader:

        def scorer(metric: Any, run: Target, reference: Reference | None = REFERENCE, cache: bool = False) -> Scorer:
            card = metric.card.to_dict() | {"scope": "s", "asked": {}}
            tools = Tools(reader, FeatureCache(tmp_path / "features" if cache else None))
            missing = find_missing(run, metric.name, "s", card)
            return Scorer(metric.name, metric, card, run, missing, reference, tmp_path / "cache", tools)

        yield scorer


def score(scorer: Scorer, parts: Sequence[Sequence[str]] | None = None) -> int:
    """All of a run, in these parts."""
    made = 0
    scorer.begin()
    for prompt_ids in parts or [list(scorer.target.images)]:
        chunk = Chunk(scorer.target, prompt_ids, scorer.tools, frozenset())
        chunk.read_ahead(scorer.pixels(chunk), set(scorer.wanted(chunk)))
        made += scorer.take(chunk)
    return made + scorer.finish()


def rows_of(scorer: Scorer) -> dict[tuple[str | None, int | None], ScoreRow]:
    store = scorer.target.store
    return {row.key: row for row in [*store.scores(scorer.name), *store.left_out_scores(scorer.name)]}


def levels(prompts: int, samples: int = 3) -> dict[str, list[int]]:
    return {f"p{p:02d}": [20 + 7 * p + s for s in range(samples)] for p in range(prompts)}


# --- image and group metrics


def test_an_image_metric_has_a_value_for_each_image_with_its_prompt(make: Make, tmp_path: Path) -> None:
    run = target(tmp_path, {"p1": [20, 30], "longer": [20]})
    scorer = make(SeenImage("seen_image"), run)
    assert score(scorer) == 3
    rows = rows_of(scorer)
    assert rows.keys() == {("p1", 0), ("p1", 1), ("longer", 0)}
    difference = rows["longer", 0].value - rows["p1", 0].value  # the same picture
    assert_close(difference, len("text of longer") - len("text of p1"), scale=rows["longer", 0].value)
    assert all(row.reason is None for row in rows.values())


def test_a_value_that_cannot_be_had_is_nan_with_the_reason_and_counted_once(
    make: Make, tmp_path: Path, said: list[str]
) -> None:
    run = target(tmp_path, {"p1": [20, REFUSED], "p2": [REFUSED, 30]})
    scorer = make(SeenImage("seen_image"), run)
    assert score(scorer) == 4
    rows = rows_of(scorer)
    assert {key for key, row in rows.items() if row.reason == "it is refused"} == {("p1", 1), ("p2", 0)}
    assert all(math.isnan(row.value) == (row.reason is not None) for row in rows.values())
    assert said == [f"{run.store.name}: seen_image has no value for 2 of its units: it is refused"]


def test_a_number_that_is_not_finite_is_no_value(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SeenImage, "compare", lambda _, features, texts: torch.full((len(features),), math.inf))
    scorer = make(SeenImage("seen_image"), target(tmp_path, {"p1": [20]}))
    score(scorer)
    (row,) = rows_of(scorer).values()
    assert math.isnan(row.value)
    assert row.reason == "the metric gave no finite number"


def test_a_group_with_one_image_or_a_bad_one_has_no_value(make: Make, tmp_path: Path) -> None:
    run = target(tmp_path, {"p1": [20, 30, 40], "p2": [20], "p3": [20, REFUSED + 1]})
    scorer = make(SeenGroup("seen_group"), run)
    assert score(scorer) == 3
    rows = rows_of(scorer)
    assert rows["p1", None].value > 0
    assert rows["p2", None].reason == "needs at least 2 images"
    assert rows["p3", None].reason == "the metric failed: RuntimeError: the network fails"


def test_a_reason_that_counts_images_names_the_file_instead() -> None:
    keys = [("p1", 0), ("p1", 3)]
    assert with_names(keys, "image 1 has mode 'I;16'") == "p1/3.png has mode 'I;16'"
    assert with_names(keys[:1], "image 0 (a.png) is empty") == "p1/0.png (a.png) is empty"
    for same in ("image 2 is no one's", "needs at least 2 images", "reference image 01.png", 0.5):
        assert with_names(keys, same) == same


def test_enough_images_are_not_told_to_be_too_few(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A NaN that comes out of the network, as broken weights make it."""
    broken = lambda self, inputs: inputs.flatten(1) * math.nan  # noqa: E731
    for metric in (SeenGroup, SeenSet):
        monkeypatch.setattr(metric, "seen", broken)
    group = make(SeenGroup("seen_group"), target(tmp_path / "a", {"p1": [20, 30], "p2": [20]}))
    score(group)
    reasons = {key[0]: row.reason for key, row in rows_of(group).items()}
    assert reasons == {"p1": "the metric gave no finite number", "p2": "needs at least 2 images"}
    whole = make(SeenSet("seen_set"), target(tmp_path / "b", {"p1": [20, 30]}))
    score(whole)
    assert "needs at least 2" not in str(rows_of(whole)[None, None].reason)


def test_a_metric_that_failed_is_asked_again(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused image stays refused; what was the machine's or a bug's may be mended."""
    run = target(tmp_path, {"p1": [20, REFUSED, REFUSED + 1]})
    score(make(SeenImage("seen_image"), run))
    monkeypatch.setattr(SeenImage, "seen", lambda self, inputs: inputs.flatten(1))
    again = make(SeenImage("seen_image"), run)
    assert again.missing.images == {("p1", 2)}
    score(again)
    assert [row.reason for row in rows_of(again).values()] == [None, "it is refused", None]


def test_a_failing_prompt_is_told_of_alone(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = SeenImage.encode_prompts

    def fails(self: SeenImage, prompts: list[str]) -> Any:
        if any("p2" in prompt for prompt in prompts):
            raise ValueError("no tokens")
        return encode(self, prompts)

    monkeypatch.setattr(SeenImage, "encode_prompts", fails)
    scorer = make(SeenImage("seen_image"), target(tmp_path, {"p1": [20, 30], "p2": [20, 30]}))
    score(scorer)
    reasons = {key: row.reason for key, row in rows_of(scorer).items()}
    assert reasons == {
        **{("p1", k): None for k in (0, 1)},
        **{("p2", k): "the metric failed: ValueError: no tokens" for k in (0, 1)},
    }


def test_values_do_not_depend_on_the_parts_or_on_the_cache(make: Make, tmp_path: Path) -> None:
    """To the last bit: a run that was interrupted, or a deleted cache, changes nothing."""
    found = []
    for index, (parts, cache) in enumerate(
        [(None, False), ([["p00"], ["p01", "p02"]], False), (None, True), ([["p00"], ["p01", "p02"]], True)]
    ):
        for kind, metric in ((SeenImage, "seen_image"), (SeenGroup, "seen_group"), (SeenSet, "seen_set")):
            scorer = make(kind(metric, network=metric), target(tmp_path / f"{index}", levels(3)), cache=cache)
            score(scorer, parts)
            found.append({key: row.value for key, row in rows_of(scorer).items()})
    assert len(found[0]) == 9
    for index in range(3, len(found)):
        if index % 3 == 2 and index // 3 in (1, 3):  # a set in other parts: sums in another order
            assert found[index] == pytest.approx(found[2], rel=1e-12)
        else:
            assert found[index] == found[index % 3]


# --- the whole set


def embedded(run: Target, prompt_ids: Sequence[str]) -> Moments:
    from PIL import Image

    metric = SeenSet("seen_set")
    images = []
    for prompt_id in prompt_ids:
        for row in run.images[prompt_id]:
            with Image.open(run.store.path / row.path) as opened:
                images.append(opened.copy())
    return metric.statistics(images)


def reference_moments() -> Moments:
    metric = SeenSet("seen_set")
    return metric.statistics([get() for sources in reference_sources(REFERENCE) for _, get in sources])


@pytest.mark.slow
@pytest.mark.parametrize(("prompts", "blocks"), [(1, 0), (2, 0), (3, 3), (7, 7), (20, 20), (23, 20)])
def test_the_set_has_its_value_and_one_with_each_block_of_prompts_left_out(
    prompts: int, blocks: int, make: Make, tmp_path: Path
) -> None:
    run = target(tmp_path, levels(prompts))
    scorer = make(SeenSet("seen_set"), run)
    names = list(run.images)
    parts = [names[start : start + 4] for start in range(0, prompts, 4)]  # blocks go across chunks
    assert score(scorer, parts) == 1
    rows = rows_of(scorer)
    against = reference_moments()
    assert rows[None, None].value == pytest.approx(frechet_distance(embedded(run, names), against), rel=1e-9)
    left_out = {key[1]: row.value for key, row in rows.items() if key[1] is not None}
    assert sorted(left_out) == list(range(blocks))
    for block, value in left_out.items():
        kept = [name for index, name in enumerate(names) if index * min(prompts, 20) // prompts != block]
        assert value == pytest.approx(frechet_distance(embedded(run, kept), against), rel=1e-9)
    assert rows.keys() == {(None, None), *((None, block) for block in range(blocks))}


def test_the_value_of_the_whole_is_the_last_row(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that all are there, so that a kill between two files is no finished metric."""
    scorer = make(SeenSet("seen_set"), target(tmp_path, levels(4)))
    written: list[tuple[str, int]] = []

    def write_part(folder: Path, rows: Sequence[Any], columns: Mapping[str, str], prefix: str, owner: str) -> None:
        written.append((prefix, len(rows)))
        really_write_part(folder, rows, columns, prefix, owner)

    monkeypatch.setattr(score_files, "write_part", write_part)
    score(scorer)
    assert written == [("left_out", 4), ("part", 1)]
    assert rows_of(scorer)[None, None].value == scorer.target.store.scores("seen_set")[0].value


def test_wide_features_leave_out_fewer_and_larger_blocks(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "WIDE", 11)  # the fake has 12
    run = target(tmp_path, levels(23))
    scorer = make(SeenSet("seen_set"), run)
    score(scorer)
    rows = rows_of(scorer)
    assert len(rows) == 11
    assert rows[None, None].value == pytest.approx(
        frechet_distance(embedded(run, list(run.images)), reference_moments()), rel=1e-9
    )


def test_a_set_with_an_image_that_cannot_be_used_has_no_value(make: Make, tmp_path: Path) -> None:
    """Never over fewer images than the run has: the number is part of what the value means."""
    run = target(tmp_path, {**levels(3), "bad": [20, REFUSED]})
    scorer = make(SeenSet("seen_set"), run)
    assert score(scorer) == 1
    ((key, row),) = rows_of(scorer).items()
    assert key == (None, None)
    assert math.isnan(row.value)
    assert row.reason == "it is refused"


@pytest.mark.parametrize(
    ("reference", "run_levels", "reason"),
    [
        (None, {"p1": [20, 30]}, "the suite has no reference images"),
        (REFERENCE, {"p1": [20]}, "needs at least 2 images on each side"),
    ],
)
def test_why_a_set_has_no_value(
    reference: Reference | None, run_levels: Mapping[str, Sequence[int]], reason: str, make: Make, tmp_path: Path
) -> None:
    scorer = make(SeenSet("seen_set"), target(tmp_path, run_levels), reference)
    score(scorer)
    row = rows_of(scorer)[None, None]
    assert math.isnan(row.value)
    assert row.reason == reason


def test_a_reference_folder_that_is_gone_is_an_error(make: Make, tmp_path: Path) -> None:
    gone = Reference(kind="folder", path=str(tmp_path / "nowhere"))
    scorer = make(SeenSet("seen_set"), target(tmp_path, levels(2)), gone)
    with pytest.raises(MissingError, match="nowhere does not exist"):
        score(scorer)
    assert scorer.target.store.scores("seen_set") == []


def test_the_reference_is_seen_once_for_all_runs(make: Make, tmp_path: Path) -> None:
    first, second = SeenSet("seen_set"), SeenSet("seen_set")
    score(make(first, target(tmp_path / "a", levels(2))))
    score(make(second, target(tmp_path / "b", levels(2))))
    assert first.counts["prepared"] == 6 + 20
    assert second.counts["prepared"] == 6


def test_the_number_of_images_and_the_reference_are_noted(make: Make, tmp_path: Path) -> None:
    run = target(tmp_path, levels(3))
    score(make(SeenSet("seen_set"), run))
    digest = reference_moments().digest[:12]
    notes = run.store.manifest().notes["seen_set"]
    assert notes[0].startswith(f"seen_set over 9 images against 20 reference images (sha256 {digest}")
    assert "9 images is biased upwards: 12 features need at least 13 images" in notes[1]
    assert len(notes) == 2


# --- what an interruption leaves


def test_values_are_written_while_scoring_but_replace_others_only_at_the_end(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SECONDS_BETWEEN_PARTS", 0.0)
    run = target(tmp_path, levels(2))
    fresh = make(SeenImage("seen_image"), run)
    fresh.take(Chunk(run, ["p00"], fresh.tools, frozenset()))
    assert len(run.store.scores("seen_image")) == 3
    old = run.store.scores("seen_image")
    again = make(SeenImage("seen_image", network="other"), run)
    assert again.missing.replaces
    again.take(Chunk(run, ["p00"], again.tools, frozenset()))
    again.record()
    assert run.store.scores("seen_image") == old  # a kill here leaves the old values
    again.take(Chunk(run, ["p01"], again.tools, frozenset()))
    again.finish()
    assert len(run.store.scores("seen_image")) == 6
    assert run.store.score_card("seen_image") == again.card


def test_only_what_is_missing_is_scored(make: Make, tmp_path: Path) -> None:
    run = target(tmp_path, levels(3))
    first = make(SeenImage("seen_image"), run)
    first.missing = Missing(images={("p00", 0), ("p00", 1), ("p01", 0)})
    score(first)
    rest = make(SeenImage("seen_image"), run)
    assert rest.missing.size == 6
    assert score(rest) == 6
    assert rest.metric.counts["prepared"] == 6
    assert make(SeenImage("seen_image"), run).missing.size == 0


def test_a_damaged_image_is_tried_again_once_it_is_whole(make: Make, tmp_path: Path) -> None:
    run = target(tmp_path, levels(1))
    path = run.store.path / run.images["p00"][1].path
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    scorer = make(SeenImage("seen_image"), run)
    score(scorer)
    assert rows_of(scorer)["p00", 1].reason == "the image cannot be used: p00/1.png: truncated"
    path.write_bytes(whole)
    again = make(SeenImage("seen_image"), run)
    assert again.missing.images == {("p00", 1)}
    score(again)
    assert all(row.reason is None for row in rows_of(again).values())


def test_faults_of_files_are_said_once_for_all_metrics(said: list[str], tmp_path: Path) -> None:
    run = target(tmp_path, levels(1))
    run.faults.update({("p00", sample): "truncated" for sample in range(5)})
    stage._tell_faults(run)
    assert said == [
        f"{run.store.name}: 5 images cannot be used, so that groups and sets with such an image have no value "
        "(p00/0.png: truncated; p00/1.png: truncated; p00/2.png: truncated; and 2 more)"
    ]


def test_values_with_a_block_left_out_that_are_gone_are_made_again(make: Make, tmp_path: Path, said: list[str]) -> None:
    run = target(tmp_path, levels(6))
    first = make(SeenSet("seen_set"), run)
    score(first)
    before = rows_of(first)
    assert not make(SeenSet("seen_set"), run).missing.whole
    for path in run.store.path.rglob("left_out-*.parquet"):
        path.unlink()
    assert run.store.lacks_left_out("seen_set", run.store.score_card("seen_set") or {})
    assert read_run(run.store).left_out == {}
    assert "so that it has no interval: `bench score` makes them again" in said[-1]
    again = make(SeenSet("seen_set"), run)
    assert again.missing.whole
    score(again)
    after = rows_of(again)
    assert {key: row.value for key, row in after.items()} == {key: row.value for key, row in before.items()}
    assert sum(row.left_out for row in after.values()) == 6
    assert not make(SeenSet("seen_set"), run).missing.whole
