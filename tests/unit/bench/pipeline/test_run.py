"""The main job on a tiny random pipeline with fake metrics."""

from __future__ import annotations

import hashlib
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.analysis.table.build import build
from bench.errors import BenchError, MissingError, UsageError
from bench.generation import batches
from bench.generation import generate as stage
from bench.pipeline import rescore
from bench.pipeline import run as pipeline
from bench.store import locks
from bench.store.outdated import STALE, is_current, mark_stale
from bench.store.records import ImageRow
from bench.store.run_store import RunStore
from bench.store.runs import read_run
from bench.suite.schema import Suite
from tests.unit.bench.models import fake_metrics
from tests.unit.bench.small_runs import TEXTS, images_of, small_suite, values_of, write_prompts, write_weights

METHODS = ["base", "refl", "combined"]


def take(images: Path, suite: Suite, folder: Path) -> list[RunStore]:
    """The images as a run of the method "mine"."""
    return rescore.score(images=images, suite=suite, prompts=suite.prompts, name="mine", results=folder / "results")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(autouse=True)
def fakes() -> None:
    fake_metrics.install()


@pytest.fixture
def suite(weights: Path, tmp_path: Path) -> Suite:
    return small_suite(weights, tmp_path, refl=True)


@pytest.mark.slow
def test_run_makes_images_scores_summaries_and_a_second_run_nothing(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = pipeline.run(suite, METHODS, results=tmp_path / "results")
    base, refl, combined = stores
    assert [store.manifest().status for store in stores] == ["complete"] * 3
    assert len(images_of(base)) == 6
    assert len({*images_of(base).values(), *images_of(refl).values(), *images_of(combined).values()}) == 18
    assert len([key for key in values_of(base) if key[0] == "fake_image"]) == 6
    assert len([key for key in values_of(base) if key[0] == "fake_group"]) == 3
    assert ("fake_set", None, None) in values_of(base)
    summary = base.summary()
    assert summary is not None
    assert set(summary["metrics"]) == {"fake_image", "fake_group", "fake_set"}
    # Once before the first image, so that nothing is found too late, and once to score.
    assert sorted(fake_metrics.LOADED) == sorted(2 * ["fake_group", "fake_image", "fake_set"])
    # combined shares base's first three steps: only the last is its own, without guidance.
    assert combined.manifest().counts["network_evaluations_needed"] == 6 * (3 * 2 + 1)
    assert combined.manifest().counts["network_evaluations_executed"] == 6
    assert base.manifest().counts["network_evaluations_executed"] == 6 * 8
    assert base.manifest().timings["images_per_second"] > 0

    def never(*_: Any) -> Any:
        raise AssertionError("no model may be loaded")

    monkeypatch.setattr(stage, "Loaded", never)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*") if path.name != ".lock"}
    pipeline.run(suite, METHODS, results=tmp_path / "results", device="auto")
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*") if path.name != ".lock"}
    assert {path for path in after if path.is_file()} == {path for path in before if path.is_file()}
    assert [path for path in before if path.is_file() and after[path] != before[path]] == []
    assert said[-1].startswith("nothing to do")


@pytest.mark.slow
def test_methods_and_batches_do_not_matter(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    together = pipeline.run(suite, METHODS, results=tmp_path / "a", batch_size=3)
    for method, store in zip(METHODS, together, strict=True):
        (alone,) = pipeline.run(suite, [method], results=tmp_path / "b", batch_size=3)
        assert alone.name == store.name
        assert images_of(alone) == images_of(store)


@pytest.mark.slow
@pytest.mark.parametrize("sample", [0, 1])
def test_an_interrupted_run_continues_and_ends_with_the_same_images(
    sample: int, suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one image of a batch was written and the other was not: its company decides its last bits."""
    whole = pipeline.run(suite, METHODS, results=tmp_path / "a", batch_size=2)
    save = RunStore.save_image

    def interrupted(self: RunStore, *arguments: Any) -> Any:
        if arguments[:2] == ("p2", sample):
            raise KeyboardInterrupt
        return save(self, *arguments)

    monkeypatch.setattr(RunStore, "save_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(suite, METHODS, results=tmp_path / "b", batch_size=2)
    monkeypatch.undo()
    stores = [RunStore(tmp_path / "b" / "runs" / "tiny" / store.name) for store in whole]
    assert [store.manifest().status for store in stores] == ["running"] * 3
    assert 0 < sum(len(store.images()) for store in stores) < 18
    pipeline.run(suite, METHODS, results=tmp_path / "b", batch_size=2)
    for store, expected in zip(stores, whole, strict=True):
        assert images_of(store) == images_of(expected)
        assert values_of(store) == values_of(expected)
        assert store.manifest().status == "complete"


@pytest.mark.slow
def test_damaged_images_are_made_again_and_said(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    (store,) = pipeline.run(suite, ["base"], results=tmp_path)
    before, scores = images_of(store), values_of(store)
    store.image_path("p1", 0).write_bytes(store.image_path("p1", 0).read_bytes()[:60])
    Image.new("RGB", (32, 32)).save(store.image_path("p2", 1))
    store.image_path("p3", 0).unlink()
    pipeline.run(suite, ["base"], results=tmp_path)
    good, bad = store.verified_images(before)
    assert (len(good), bad) == (6, [])
    assert images_of(store) == before
    assert values_of(store) == scores
    (line,) = [line for line in said if "regenerating" in line]
    assert "p1/0.png is truncated" in line
    assert "p2/1.png is foreign" in line


@pytest.mark.slow
def test_an_added_prompt_generates_only_itself(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    (old,) = pipeline.run(suite, ["base"], results=tmp_path)
    more = suite.override(prompts=write_prompts(tmp_path / "more.jsonl", TEXTS | {"p4": "a triangle"}))
    (new,) = pipeline.run(more, ["base"], results=tmp_path)
    counts = new.manifest().counts
    assert (counts["images"], counts["images_generated"], counts["images_reused"]) == (8, 2, 6)
    assert images_of(old).items() <= images_of(new).items()
    changed = suite.override(prompts=write_prompts(tmp_path / "other.jsonl", TEXTS | {"p1": "a blue circle"}))
    (other,) = pipeline.run(changed, ["base"], results=tmp_path)
    assert other.manifest().counts["images_generated"] == 2


@pytest.mark.slow
def test_more_samples_keep_the_old_and_score_the_groups_again(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    (store,) = pipeline.run(suite, ["base"], results=tmp_path)
    before, images = values_of(store), images_of(store)
    pipeline.run(suite.override(samples=3), ["base"], results=tmp_path)
    assert store.manifest().samples == 3
    assert images.items() <= images_of(store).items()
    after = values_of(store)
    assert len([key for key in after if key[0] == "fake_image"]) == 9
    assert after["fake_group", "p1", None] != before["fake_group", "p1", None]
    assert after["fake_set", None, None] != before["fake_set", None, None]
    pipeline.run(suite, ["base"], results=tmp_path)
    assert store.manifest().samples == 3
    assert said[-1].startswith("nothing to do")


@pytest.mark.slow
def test_never_starts_again_and_keeps_the_old_run_until_the_end(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (store,) = pipeline.run(suite, ["base"], results=tmp_path)
    before = images_of(store)

    def full(*_: Any) -> Any:
        raise UsageError("cannot write: the disk is full")

    monkeypatch.setattr(RunStore, "save_image", full)
    with pytest.raises(UsageError, match="disk is full"):
        pipeline.run(suite, ["base"], results=tmp_path, resume="never")
    monkeypatch.undo()
    assert images_of(store) == before
    assert store.manifest().status == "complete"
    pipeline.run(suite, ["base"], results=tmp_path, resume="never")
    assert images_of(store) == before
    assert store.manifest().counts["images_generated"] == 6
    assert [path.name for path in store.path.parent.iterdir()] == [store.name]


@pytest.mark.slow
def test_a_run_is_held_from_the_first_image_to_complete(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken once: released in between, another process could replace the run, and this one call that complete."""
    taken: list[str] = []
    acquire = locks._acquire

    def counted(lock: Any, folder: Path, message: str) -> None:
        taken.append(folder.name)
        acquire(lock, folder, message)

    monkeypatch.setattr(locks, "_acquire", counted)
    stores = pipeline.run(suite, METHODS, results=tmp_path)
    assert sorted(taken) == sorted(store.name for store in stores)
    taken.clear()
    rescore.score([store.path for store in stores])
    assert sorted(taken) == sorted(store.name for store in stores)


def test_a_new_metric_scores_without_generating(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (store,) = pipeline.run(suite.override(metrics=["fake_image"]), ["base"], results=tmp_path)
    monkeypatch.setattr(stage, "Loaded", lambda *_: pytest.fail("nothing to generate"))
    fake_metrics.LOADED.clear()
    pipeline.run(suite, ["base"], results=tmp_path)
    assert sorted(fake_metrics.LOADED) == ["fake_group", "fake_set"]
    summary = store.summary()
    assert summary is not None
    assert set(summary["metrics"]) == {"fake_image", "fake_group", "fake_set"}


def test_a_metric_that_cannot_be_loaded_loses_nothing(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    """Before the first image it is an error; of a run that is there, the others are scored, and it is said."""
    both = suite.override(metrics=["fake_absent", "fake_image"])
    with pytest.raises(MissingError, match=r"metric 'fake_absent' could not be scored: its weights.*No image was made"):
        pipeline.run(both, ["base"], results=tmp_path)
    assert not list(tmp_path.glob("runs"))
    pipeline.run(suite.override(metrics=["fake_group"]), ["base"], results=tmp_path)
    with pytest.raises(
        MissingError, match=r"metric 'fake_absent' could not be scored: .*The other metrics are sco"
    ) as e:
        pipeline.run(both, ["base"], results=tmp_path)
    (store,) = e.value.stores
    assert store.score_metrics() == ["fake_group", "fake_image"]
    assert store.manifest().complete
    assert store.summary() is not None
    table = build([read_run(store)])
    assert any(note.startswith("fake_absent of base could not be scored: its weights") for note in table.notes)


def test_a_metric_that_fails_after_all_is_noted_until_it_is_scored(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: Any) -> None:
        raise MissingError("gone")

    whole = suite.override(metrics=["fake_image", "fake_set"])
    with monkeypatch.context() as patched:
        patched.setattr("bench.scoring.worker.reference_statistics", late)
        with pytest.raises(MissingError, match="metric 'fake_set' could not be scored: gone") as caught:
            pipeline.run(whole, ["base"], results=tmp_path)
    (store,) = caught.value.stores
    assert (store.manifest().complete, store.score_metrics()) == (True, ["fake_image"])
    assert store.manifest().notes["fake_set"] == ["could not be scored: gone"]
    rescore.score([store.path])
    assert store.score_metrics() == ["fake_image", "fake_set"]
    assert "could not be scored: gone" not in store.manifest().notes.get("fake_set", [])


def test_a_failed_score_of_foreign_images_leaves_no_run(suite: Suite, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "p1.png")
    with pytest.raises(MissingError, match="fake_absent"):
        rescore.score(
            images=tmp_path,
            suite=suite,
            prompts=suite.prompts,
            name="mine",
            metrics=["fake_absent"],
            results=tmp_path / "results",
        )
    assert not list((tmp_path / "results").glob("runs/*/*"))


def test_an_image_that_a_metric_fails_on_is_nan_with_the_reason(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    fake_metrics.BROKEN.add(TEXTS["p2"])
    (store,) = pipeline.run(suite, ["base"], results=tmp_path)
    rows = {row.key: row for row in store.scores("fake_image")}
    assert [rows["p2", k].reason for k in (0, 1)] == ["it is broken"] * 2
    assert math.isnan(rows["p2", 0].value)
    assert math.isfinite(rows["p1", 0].value)
    assert any("no value for 2 of its units: it is broken" in line for line in said)


def test_a_changed_metric_replaces_its_scores(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (store,) = pipeline.run(suite, ["base"], results=tmp_path)
    before = store.score_card("fake_image")
    changed = suite.model_copy(update={"label": "other"})
    fake_metrics.LOADED.clear()
    pipeline.run(changed, ["base"], results=tmp_path)
    after = store.score_card("fake_image")
    assert before is not None
    assert after is not None
    assert before["scope"] != after["scope"]
    assert len(store.scores("fake_image")) == 6


@pytest.mark.slow
def test_scoring_continues_after_a_kill(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = pipeline.run(suite, ["base"], results=tmp_path / "a")
    only = suite.override(metrics=["fake_image"])
    monkeypatch.setattr("bench.scoring.chunking.CHUNK", 2)
    scored = fake_metrics.Brightness.score
    calls = iter(range(100))

    def killed(self: Any, images: Any, prompts: list[str]) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return scored(self, images, prompts)

    monkeypatch.setattr(fake_metrics.Brightness, "score", killed)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(only, ["base"], results=tmp_path / "b")
    store = RunStore(tmp_path / "b" / "runs" / "tiny" / whole.name)
    assert len(store.scores("fake_image")) == 4
    pipeline.run(suite, ["base"], results=tmp_path / "b")
    assert values_of(store) == values_of(whole)
    assert next(calls) == 4


def test_images_from_elsewhere_become_a_run(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    folder = tmp_path / "mine"
    for prompt_id, level in (("p1", 10), ("p2", 200)):
        (folder / prompt_id).mkdir(parents=True)
        for sample in range(2):
            Image.new("RGB", (32, 32), (level + sample,) * 3).save(folder / prompt_id / f"{sample}.png")
    (store,) = rescore.score(
        images=folder, suite=suite, prompts=suite.prompts, name="mine", results=tmp_path / "results"
    )
    assert values_of(store)["fake_image", "p2", 1] == 201.0
    assert store.manifest().status == "complete"
    assert any("no images for 1 of 3 prompts" in line for line in said)
    (again,) = rescore.score(
        images=folder, suite=suite, prompts=suite.prompts, name="mine", results=tmp_path / "results"
    )
    assert again.path == store.path
    with pytest.raises(UsageError, match="contains no image of these prompts"):
        take(tmp_path, suite, tmp_path)
    (tmp_path / "lossy" / "p1").mkdir(parents=True)
    for sample in range(2):
        Image.new("RGB", (32, 32)).save(tmp_path / "lossy" / "p1" / f"{sample}.jpg")
    with pytest.raises(UsageError, match=r"contains 2 images of these prompts as \.jpg, but only \.png is read"):
        rescore.score(
            images=tmp_path / "lossy", suite=suite, prompts=suite.prompts, name="mine", results=tmp_path / "results"
        )
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(UsageError, match="cannot be read as an image, nor can any other file"):
        take(folder, suite, tmp_path)


def test_a_broken_image_from_elsewhere_costs_its_own_values_only(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    folder = tmp_path / "mine"
    for prompt_id in ("p1", "p2", "p9"):
        (folder / prompt_id).mkdir(parents=True)
        for sample in range(2):
            Image.new("RGBA", (32, 32), (10 * sample,) * 4).save(folder / prompt_id / f"{sample}.png")
    whole = (folder / "p1" / "1.png").read_bytes()
    (folder / "p1" / "1.png").write_bytes(whole[:60])
    (folder / "p2" / "cover.webp").write_bytes(b"")
    (store,) = rescore.score(
        images=folder, suite=suite, prompts=suite.prompts, name="mine", results=tmp_path / "results"
    )
    assert (store.path / "images" / "p2" / "0.png").read_bytes() == (folder / "p2" / "0.png").read_bytes()
    values = values_of(store)
    assert {key for key in values if key[0] == "fake_image"} == {
        ("fake_image", "p1", 0),
        ("fake_image", "p2", 0),
        ("fake_image", "p2", 1),
    }
    assert {key for key in values if key[0] != "fake_image"} == {("fake_group", "p2", None)}
    reasons = {row.reason for name in store.score_metrics() for row in store.scores(name) if row.reason}
    assert len(reasons) == 1
    assert "cannot be decoded" in reasons.pop()
    (sentence,) = [line for line in said if "1 image cannot be used" in line]
    assert "p1/1.png: it cannot be decoded" in sentence
    assert any("3 files are ignored" in line and "p9/0.png" in line for line in said)
    assert store.manifest().status == "complete"


def test_rescore_takes_the_suite_from_the_run(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    stores = pipeline.run(suite.override(metrics=["fake_image"]), METHODS[:2], results=tmp_path)
    rescore.score([store.path for store in stores], metrics=["fake_group"])
    assert all(store.score_metrics() == ["fake_group", "fake_image"] for store in stores)
    rescore.score([store.path for store in stores])
    assert said[-1].startswith("nothing to do")


def test_changed_bytes_outdate_scores_and_equal_bytes_do_not(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    (store,) = pipeline.run(suite, ["base"], results=tmp_path)
    known = images_of(store)
    row = next(row for row in store.images() if row.key == ("p1", 0))
    values = values_of(store)
    mark_stale(store, [row], known)
    assert values_of(store) == values
    other = ImageRow("p1", row.prompt, 0, row.seed, row.path, hashlib.sha256(b"x").hexdigest(), 0.0)
    mark_stale(store, [other], known)
    stale = {(name, *row.key) for name in store.score_metrics() for row in store.scores(name) if row.reason == STALE}
    assert {("fake_image", "p1", 0), ("fake_group", "p1", None), ("fake_set", None, None)} <= stale
    assert ("fake_image", "p1", 1) not in stale
    assert not is_current(next(row for row in store.scores("fake_group") if row.prompt_id == "p1"))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"resume": "sometimes"}, "resume"),
        ({"engine": "rey"}, "rey"),
        ({"engine": "local2"}, "Did you mean 'local'"),
        ({"device": "cuda:99"}, "not available on this machine"),
        ({"device": "warp"}, "unknown"),
        ({"batch_size": 0}, "at least 1"),
    ],
)
def test_wrong_settings_are_one_sentence(suite: Suite, tmp_path: Path, options: dict[str, Any], part: str) -> None:
    with pytest.raises(BenchError, match=part):
        pipeline.run(suite, ["base"], results=tmp_path, **options)


@pytest.mark.slow
def test_the_stages_are_light_to_import() -> None:
    import subprocess

    code = "import sys, bench.pipeline.run; "
    code += "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules), sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_notes_on_the_values_are_kept_with_the_run(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    (store,) = pipeline.run(suite, ["base"], results=tmp_path / "results")
    assert store.manifest().notes == {"fake_image": ["3 prompts"]}
    assert read_run(store).notes == store.manifest().notes
    assert "fake_image: 3 prompts" in said
    pipeline.run(suite, ["base"], results=tmp_path / "results")  # nothing is scored, nothing is forgotten
    pipeline.run(suite.override(samples=3), ["base"], results=tmp_path / "results")
    assert store.manifest().notes == {"fake_image": ["3 prompts"]}


@pytest.mark.slow
def test_a_method_that_saw_the_reference_is_said_without_scoring_again(
    suite: Suite, tmp_path: Path, said: list[str]
) -> None:
    pipeline.run(suite, METHODS, results=tmp_path / "results")
    data = suite.model_dump()
    data["reference"]["name"] = "shapes-test"
    data["methods"]["refl"]["trained_on_data"] = ["shapes-train"]
    fake_metrics.LOADED.clear()
    base, refl, _ = pipeline.run(Suite.model_validate(data), METHODS, results=tmp_path / "results")
    assert fake_metrics.LOADED == []
    (sentence,) = refl.manifest().notes["fake_set"]
    assert "was trained on 'shapes-train', the collection of its reference set 'shapes-test'" in sentence
    assert said.count(sentence) == 1
    assert "fake_set" not in base.manifest().notes


@pytest.mark.slow
def test_a_run_that_lacks_images_does_not_become_complete(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = batches.Maker.make
    monkeypatch.setattr(batches.Maker, "make", lambda self, work: make(self, list(work)[:-1]))
    with pytest.raises(MissingError, match=r"base@.* has 4 of its 6 images: run the same command again"):
        pipeline.run(suite, ["base"], results=tmp_path, batch_size=2)
    (path,) = (tmp_path / "runs" / "tiny").iterdir()
    assert not RunStore(path).manifest().complete
    monkeypatch.undo()
    (store,) = pipeline.run(suite, ["base"], results=tmp_path, batch_size=2)
    assert store.manifest().complete


def test_guidance_is_checked_before_anything_is_fetched(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    """The prompts and the weights of this suite are nowhere, which is not what is told."""
    spec = suite.model.model_copy(update={"family": "flux", "weights": "nowhere/x.safetensors"})
    wrong = suite.model_copy(update={"model": spec, "prompts": str(tmp_path / "none.jsonl"), "guidance": 3.5})
    with pytest.raises(UsageError, match=r"guidance 3.5 on its base side, but family 'flux' is guidance-distilled"):
        pipeline.run(wrong, ["base"], results=tmp_path)
