"""Values of different cards are never put side by side, and it is said which field differs."""

from __future__ import annotations

import json
import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.analysis.compare import compare
from bench.cli import main
from bench.gate.baseline import baseline_of
from bench.store.cards import (
    card_difference,
    card_in_summary,
    identity_of,
    library_difference,
    same_card,
    with_reference,
)
from bench.store.records import ScoreRow
from metrics import Card, Direction, Facts, Kind

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make = fakes["make"]

FACTS = Facts(
    name="hpsv2.1", title="HPSv2.1", kind=Kind.IMAGE, direction=Direction.HIGHER, unit="cosine", version="2.1"
)
CARD = Card(
    FACTS,
    "shapes",
    source="weights",
    weights={"hps.pt": "1a2b3c4d" * 8, "vocab.txt": "00" * 32},
    settings={"dtype": "float32", "antialias": False, "image_size": 224},
    libraries={"torch": "2.15.0", "pillow": "13.0.0"},
)
ASKED = {"options": {"antialias": False, "extra": 1}, "reference": {"kind": "shapes", "count": 2000, "seed": 7}}


def stored(card: Card = CARD, **more: Any) -> dict[str, Any]:
    """A card as it is stored with scores."""
    return json.loads(json.dumps(card.to_dict() | {"scope": "same", "asked": ASKED} | more))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (stored(), ""),
        (stored(replace(CARD, settings={**CARD.settings, "antialias": True})), "settings.antialias False against True"),
        (
            stored(replace(CARD, weights={**CARD.weights, "hps.pt": "5e6f7a8b" * 8})),
            "weights file hps.pt: sha256 1a2b3c4d against 5e6f7a8b",
        ),
        (
            stored(replace(CARD, weights={"hps.pt": CARD.weights["hps.pt"]})),
            "weights file vocab.txt: sha256 00000000 against not stated",
        ),
        (stored(replace(CARD, facts=replace(FACTS, version="3"))), "version 2.1 against 3"),
        (stored(replace(CARD, facts=replace(FACTS, unit="100 x cosine"))), "unit cosine against 100 x cosine"),
        (stored(replace(CARD, label=None)), "label shapes against not stated"),
        (
            stored(asked=ASKED | {"reference": {"kind": "shapes", "count": 500, "seed": 7}}),
            "reference.count 2000 against 500",
        ),
        (stored(asked=ASKED | {"options": {"antialias": False, "extra": 2}}), ""),  # another name for the same
        (
            stored(asked=ASKED | {"options": {"antialias": False, "extra": 2}}, digest="other"),
            "options.extra 1 against 2",
        ),
        (stored(asked=ASKED | {"options": {"antialias": False}}), ""),  # an option that one version did not have
        (stored(replace(CARD, libraries={"torch": "2.16.0"}, source="elsewhere")), ""),
        (stored(replace(CARD, facts=replace(FACTS, licence="MIT", citation="x", title="T"))), ""),
    ],
)
def test_the_field_is_named_with_both_values(other: dict[str, Any], said: str) -> None:
    assert card_difference(stored(), other) == said


def test_a_card_without_settings_leaves_it_to_the_options() -> None:
    """As the simplest metric of a plug-in has it."""
    bare = replace(CARD, settings={})
    other = stored(bare, asked=ASKED | {"options": {"antialias": False, "extra": 2}})
    assert card_difference(stored(bare), other) == "options.extra 1 against 2"


def test_three_fields_are_shown_and_the_others_counted() -> None:
    other = replace(CARD, facts=replace(FACTS, version="3", unit="x"), label="own", settings={"dtype": "float16"})
    assert card_difference(stored(), stored(other)).endswith("and 3 more")


def test_cards_that_say_too_little_are_told_by_digest_or_scope() -> None:
    assert card_difference({"digest": "a" * 64}, {"digest": "b" * 64}) == "card aaaaaaaa against bbbbbbbb"
    assert card_difference({"digest": "a", "scope": "1"}, {"digest": "a", "scope": "2"}) == "scope 1 against 2"
    assert card_difference({"digest": "a", "scope": "1"}, {"digest": "a", "scope": "1"}) == ""
    assert card_difference({}, {}) == ""
    ours = {"digest": "a", "scope": "1", "weights": {"w": "1"}, "settings": {"x": 1}, "asked": {"options": {}}}
    theirs = {"digest": "a", "weights": {"w": "1"}, "settings": {"x": 1}}
    assert card_difference(ours, theirs) == card_difference(theirs, ours) == ""
    assert card_difference(ours, {"digest": "a"}) == "scope 1 against not stated"


def test_a_reference_that_is_not_stated_may_be_any() -> None:
    unknown = with_reference({"kind": "set", "digest": "a"})
    for other in (unknown, {"kind": "set", "digest": "a", "asked": {"reference": {"kind": "shapes"}}}, {"digest": "a"}):
        assert card_difference(unknown, other) == card_difference(other, unknown) == "reference images: not stated"


def test_a_summary_holds_what_decides_values() -> None:
    kept = identity_of(stored())
    assert kept.keys() == {"version", "unit", "label", "weights", "settings", "asked"}
    entry = {"version": "2.1", "unit": "cosine", "label": "shapes", "card_digest": CARD.digest, "card": kept}
    assert card_difference(card_in_summary(entry), stored()) == ""


def test_library_versions_are_told() -> None:
    newer = stored(replace(CARD, libraries={"torch": "2.16.0", "pillow": "13.0.0", "lpips": "0.1.4"}))
    assert library_difference([stored(), newer, stored()]) == "torch 2.15.0 against 2.16.0"
    assert library_difference([stored(), stored()]) == ""


def two_runs(results: Path, second: Card) -> None:
    make(results, "base", prompts=12, metrics=("hpsv2.1",), cards={"hpsv2.1": stored()})
    make(results, "refl", prompts=12, metrics=("hpsv2.1",), cards={"hpsv2.1": stored(second)})


@pytest.fixture
def apart(tmp_path: Path) -> Path:
    """Two runs whose HPSv2.1 differs in one setting."""
    two_runs(tmp_path, replace(CARD, settings={**CARD.settings, "antialias": True}))
    return tmp_path


def thresholds(folder: Path, text: str) -> str:
    path = folder / "gate.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("command", ["report", "compare", "check"])
def test_commands_refuse_with_exit_code_3(command: str, apart: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [command, "base", "refl", "--results", str(apart)]
    if command == "check":
        arguments += ["--thresholds", thresholds(apart, '[base."hpsv2.1"]\nmin = 0\n')]
    assert main(arguments) == 3
    said = capsys.readouterr().err
    assert "metric hpsv2.1 was computed differently: settings.antialias False against True" in said
    assert said.count("error: ") == 1


def test_check_of_a_folder_says_it_in_the_verdict(apart: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = thresholds(apart, '[base."hpsv2.1"]\nmin = 0\n[refl."hpsv2.1"]\nmin = 0\n')
    assert main(["check", "--results", str(apart), "--thresholds", gate]) == 3
    assert "settings.antialias False against True" in capsys.readouterr().out


@pytest.mark.slow
def test_a_report_of_a_folder_leaves_one_out_and_says_why(apart: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--results", str(apart), "--out", str(apart / "out")]) == 0
    assert "settings.antialias False against True" in capsys.readouterr().err
    assert "settings.antialias" in (apart / "out" / "table.md").read_text(encoding="utf-8")


def test_check_against_a_baseline_of_another_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "then", "base", prompts=12, metrics=("hpsv2.1",), cards={"hpsv2.1": stored()})
    other = replace(CARD, weights={**CARD.weights, "hps.pt": "5e6f7a8b" * 8})
    make(tmp_path / "now", "base", prompts=12, metrics=("hpsv2.1",), cards={"hpsv2.1": stored(other)})
    before = tmp_path / "baseline.json"
    before.write_text(json.dumps(baseline_of(tmp_path / "then")))
    gate = thresholds(tmp_path, '[base."hpsv2.1"]\nmax_drop = 0.5\n')
    arguments = ["check", "--results", str(tmp_path / "now"), "--thresholds", gate, "--baseline", str(before)]
    assert main(arguments) == 3
    assert "weights file hps.pt: sha256 1a2b3c4d against 5e6f7a8b" in capsys.readouterr().out


def test_other_libraries_are_a_note(tmp_path: Path) -> None:
    two_runs(tmp_path, replace(CARD, libraries={"torch": "2.16.0"}))
    base, refl = sorted(tmp_path.glob("runs/shapes/*@*"))
    notes = compare(base, refl).notes
    assert any(note.endswith("should change no value: torch 2.15.0 against 2.16.0 (hpsv2.1)") for note in notes)


def test_a_renamed_file_of_weights_is_the_same_one() -> None:
    renamed = replace(CARD, weights={"mine.pt": CARD.weights["hps.pt"], "vocab.txt": CARD.weights["vocab.txt"]})
    assert renamed.digest != CARD.digest
    assert card_difference(stored(), stored(renamed)) == ""
    assert same_card(stored(), stored(renamed))
    other = replace(renamed, weights={**renamed.weights, "mine.pt": "5e6f7a8b" * 8})
    assert "weights file hps.pt: sha256 1a2b3c4d against not stated" in card_difference(stored(), stored(other))
    assert not same_card(stored(), stored(other))


def test_files_that_swapped_their_roles_are_not_the_same() -> None:
    one = replace(CARD, weights={"clip.pt": "aa" * 32, "open_clip.pt": "bb" * 32})
    other = replace(CARD, weights={"clip.pt": "bb" * 32, "open_clip.pt": "aa" * 32})
    assert "clip.pt: sha256 aaaaaaaa against bbbbbbbb" in card_difference(stored(one), stored(other))
    assert not same_card(stored(one), stored(other))


def test_reference_images_are_told_by_their_contents_and_those_of_earlier_versions_by_what_they_say() -> None:
    def of(**more: Any) -> dict[str, Any]:
        return stored(asked={**ASKED, "reference": {"kind": "folder", "files": 2, **more}})

    assert card_difference(of(content="a", images="x"), of(content="b", images="x")) == ""
    assert card_difference(of(content="a", images="x"), of(content="a", images="y")) == "reference.images x against y"
    assert card_difference(of(content="a"), of(content="a", images="x")) == ""
    assert card_difference(of(content="a"), of(content="b", images="x")) == "reference.content a against b"


@pytest.fixture
def one_apart(tmp_path: Path) -> Path:
    """Three runs with two metrics; of imagerefl, HPSv2.1 has another version."""
    lpips = fakes["card"]("lpips")
    for method, card in (
        ("base", CARD),
        ("refl", CARD),
        ("imagerefl", replace(CARD, facts=replace(FACTS, version="3"))),
    ):
        cards = {"hpsv2.1": stored(card), "lpips": lpips}
        make(tmp_path, method, prompts=12, metrics=("hpsv2.1", "lpips"), cards=cards)
    return tmp_path


@pytest.mark.slow
def test_one_differing_metric_leaves_the_others_in_the_report(one_apart: Path) -> None:
    assert main(["report", "--results", str(one_apart), "--out", str(one_apart / "out"), "--gallery", "0"]) == 0
    scores = pd.read_csv(one_apart / "out" / "scores.csv")
    found = {(run.partition("@")[0], metric) for run, metric in zip(scores["run"], scores["metric"], strict=True)}
    methods = ("base", "refl", "imagerefl")
    assert found == {(method, "lpips") for method in methods} | {("base", "hpsv2.1"), ("refl", "hpsv2.1")}
    table = (one_apart / "out" / "table.md").read_text(encoding="utf-8")
    assert re.search(
        r"imagerefl: HPSv2.1 \(shapes\) was computed differently than for base@\S+: version 2.1 against 3", table
    )


def test_one_differing_metric_is_named_and_the_others_are_compared(one_apart: Path) -> None:
    names = ["base", "imagerefl"]
    found = compare(*names, results=one_apart)
    assert [difference.facts.name for difference in found.differences] == ["lpips"]
    assert sum("computed differently" in note for note in found.notes) == 1
    assert not any("scored in one run only" in note for note in found.notes)
    several = compare("base", "refl", others=["imagerefl"], results=one_apart)
    assert {one.facts.name: len(one.methods) for one in several.metrics} == {"hpsv2.1": 2, "lpips": 3}
    assert any("imagerefl: HPSv2.1" in note for note in several.notes)


def test_the_gate_judges_each_method_and_refuses_only_what_compares_two(
    one_apart: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = thresholds(one_apart, '[base."hpsv2.1"]\nmin = -9\n[imagerefl."hpsv2.1"]\nmin = -9\n')
    assert main(["check", "--results", str(one_apart), "--thresholds", plain]) == 0
    rule = thresholds(one_apart, '[imagerefl.dominates]\nover = "base"\non = ["hpsv2.1"]\n')
    assert main(["check", "--results", str(one_apart), "--thresholds", rule]) == 3
    assert "hpsv2.1 was computed differently for base: version 2.1 against 3" in capsys.readouterr().out


def test_a_raised_version_replaces_the_values_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = make(tmp_path, "base", prompts=2, samples=1, metrics=("hpsv2.1",), cards={"hpsv2.1": stored()})
    newer = stored(replace(CARD, facts=replace(FACTS, version="3")), scope="other")
    store.append_scores("hpsv2.1", [ScoreRow("p0000", 0, 7.0)], newer)
    assert [row.value for row in store.scores("hpsv2.1")] == [7.0]
    assert "the hpsv2.1 scores were computed differently (version 2.1 against 3) and are replaced" in caplog.text
