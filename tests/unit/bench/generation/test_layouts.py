"""Folders of images as people have them: each layout with the prompt and sample of every file; doubt is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.generation.layouts import LAYOUTS, Found, read_layout, samples_of
from prompts import Prompt

THREE = [Prompt("s-000", "a red circle"), Prompt("s-001", "a blue star."), Prompt("s-002", "one/two squares")]
LINES = [Prompt("p0001", "a red circle"), Prompt("p0003", "a blue star")]
STYLES = [Prompt(f"{style}-{n:04d}", f"{style} {n}") for style in ("anime", "concept-art") for n in (1, 2)]


def pairs(names: list[str], prompts: list[Prompt], layout: str | None = None) -> tuple[str, dict[str, tuple[str, int]]]:
    """The layout's name, and file -> (prompt id, sample)."""
    reading = read_layout(Path("nowhere"), names, prompts, layout)
    assert reading is not None
    return reading.layout, {name: key for key, name in samples_of(reading.files)[0].items()}


@pytest.mark.parametrize(
    ("layout", "prompts", "files"),
    [
        ("folders", THREE, {"s-000/0.png": ("s-000", 0), "s-000/1.png": ("s-000", 1), "s-002/0.png": ("s-002", 0)}),
        ("folders", THREE, {"S-000/0.PNG": ("s-000", 0), "s-1/0.png": ("s-001", 0)}),  # capitals, zeros
        ("folders", THREE, {"s-000/00000.png": ("s-000", 0), "s-000/00003.png": ("s-000", 3)}),
        ("folders", THREE, {"s-000/img_0.png": ("s-000", 0), "s-000/img_1.png": ("s-000", 1)}),
        ("folders", THREE, {"s-000/1.png": ("s-000", 0), "s-000/2.png": ("s-000", 1)}),  # from 1
        ("folders", THREE, {"s-000/42.png": ("s-000", 0), "s-000/20240511.png": ("s-000", 1)}),
        ("folders", THREE, {"s-000/42.png": ("s-000", 0), "s-000/43.png": ("s-000", 1), "s-001/43.png": ("s-001", 1)}),
        ("folders", THREE, {"s-000/42.png": ("s-000", 0), "s-001/57.png": ("s-001", 0)}),
        ("folders", [Prompt("7", "x"), Prompt("11", "y")], {"007/0.png": ("7", 0), "011/0.png": ("11", 0)}),
        ("flat", THREE, {"s-000.png": ("s-000", 0), "S-002.jpg": ("s-002", 0)}),
        ("numbered", THREE, {"s-000_0.png": ("s-000", 0), "s-000_1.png": ("s-000", 1), "s-001-0.png": ("s-001", 0)}),
        ("hpsv2", STYLES, {"anime/00000.jpg": ("anime-0001", 0), "concept-art/00001.jpg": ("concept-art-0002", 0)}),
        ("hpsv2", STYLES, {"Concept_Art/00000.jpg": ("concept-art-0001", 0)}),
        ("t2i-compbench", THREE, {"a red circle_000000.png": ("s-000", 0), "samples/a blue star_07.png": ("s-001", 0)}),
        ("t2i-compbench", THREE, {"one two squares_000003.png": ("s-002", 0)}),
        ("index0", LINES, {"0.png": ("p0001", 0), "1.png": ("p0003", 0)}),
        ("index0", LINES, {"00000/0.png": ("p0001", 0), "00001/1.png": ("p0003", 1)}),
        ("index0", LINES, {"00000_0.png": ("p0001", 0), "00000_1.png": ("p0001", 1)}),
        ("index1", LINES, {"1.png": ("p0001", 0), "2.png": ("p0003", 0)}),
    ],
)  # fmt: skip
def test_a_layout_is_found_by_itself(layout: str, prompts: list[Prompt], files: dict[str, tuple[str, int]]) -> None:
    assert pairs(sorted(files), prompts) == (layout, files)
    assert pairs(sorted(files), prompts, layout)[1] == files


def test_image_reward_is_numbered_under_its_own_name() -> None:
    prompts = [Prompt("000904-0035", "x"), Prompt("000904-0036", "y")]
    files = {f"{prompt.id}_{n}.png": (prompt.id, n) for prompt in prompts for n in range(10)}
    assert pairs(sorted(files), prompts, "imagereward") == ("imagereward", files)
    assert pairs(sorted(files), prompts) == ("numbered", files)


def geneval(folder: Path, texts: list[str]) -> list[str]:
    for number, text in enumerate(texts):
        (folder / f"{number:05d}").mkdir(parents=True)
        (folder / f"{number:05d}" / "metadata.jsonl").write_text(json.dumps({"tag": "x", "prompt": text}))
    return [f"{number:05d}/samples/{sample:04d}.png" for number in range(len(texts)) for sample in range(2)]


def test_geneval(tmp_path: Path) -> None:
    names = [*geneval(tmp_path, ["a red circle", "a  blue star"]), "00000/grid.png"]
    reading = read_layout(tmp_path, names, LINES, None)
    assert reading is not None
    assert reading.layout == "geneval"
    found = {name: key for key, name in samples_of(reading.files)[0].items()}
    assert found == {
        "00000/samples/0000.png": ("p0001", 0),
        "00000/samples/0001.png": ("p0001", 1),
        "00001/samples/0000.png": ("p0003", 0),
        "00001/samples/0001.png": ("p0003", 1),
    }


@pytest.mark.parametrize("text", ["a blue star", ""])
def test_geneval_of_other_prompts(tmp_path: Path, text: str) -> None:
    names = geneval(tmp_path, [text, "a red circle"])
    with pytest.raises(UsageError, match=r"00000/metadata.jsonl says the prompt is '.*', but prompt 'p0001' of the"):
        read_layout(tmp_path, names, LINES, None)
    (tmp_path / "00000" / "metadata.jsonl").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="has no prompt: its first line must be"):
        read_layout(tmp_path, names, LINES, None)


@pytest.mark.parametrize(
    ("prompts", "names", "a", "b"),
    [
        ([Prompt("a", "x"), Prompt("a_1", "y")], ["a.png", "a_1.png"], "flat", "numbered"),
        ([Prompt(str(n), f"x{n}") for n in range(1, 4)], ["0.png", "1.png", "2.png"], "flat", "index0"),
        ([Prompt(f"p000{n}", f"x{n}") for n in range(1, 5)], ["1.png", "2.png"], "index0", "index1"),
    ],
)
def test_two_readings_are_refused_and_named(prompts: list[Prompt], names: list[str], a: str, b: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_layout(Path("x"), names, prompts, None)
    text = str(caught.value)
    assert text.startswith("x can be read in two ways: ")
    assert f"with --layout {a}" in text
    assert f"with --layout {b}" in text
    assert pairs(names, prompts, a) != pairs(names, prompts, b)


def test_no_reading() -> None:
    for names in ([], ["x/0.png"], ["s-000/cover.png"], ["deep/s-000/0.png"], ["5.png"]):
        assert read_layout(Path("x"), names, THREE, None) is None
    assert read_layout(Path("x"), ["s-000/0.png"], THREE, "flat") is None
    with pytest.raises(UsageError, match=f"unknown layout 'flad'. Did you mean 'flat'.*{', '.join(sorted(LAYOUTS))}"):
        read_layout(Path("x"), [], THREE, "flad")


def test_prompts_of_one_text_are_not_told_apart_by_it() -> None:
    same = [Prompt("a", "x y"), Prompt("b", "x y")]
    assert read_layout(Path("x"), ["x y_000000.png"], same, None) is None


def test_two_files_of_one_sample() -> None:
    files = [Found("a/0.png", "a", 0), Found("a/00.png", "a", 0)]
    with pytest.raises(UsageError, match="a/0.png and a/00.png are both image 0 of prompt 'a': remove one"):
        samples_of(files)


@pytest.mark.parametrize(
    ("numbers", "samples", "told"),
    [
        ({"a": [0, 1, 2, 3], "b": [0, 1, 3]}, {"a": [0, 1, 2, 3], "b": [0, 1, 3]}, ""),
        ({"a": [1, 2], "b": [2]}, {"a": [0, 1], "b": [1]}, "files are numbered from 1"),
        ({"a": [0, 1, 2, 4]}, {"a": [0, 1, 2, 4]}, ""),
        ({"a": [7, 42], "b": [42]}, {"a": [0, 1], "b": [1]}, "file names are seeds (7, 42), the same for all prompts"),
        ({"a": [7, 42], "b": [9, 50]}, {"a": [0, 1], "b": [0, 1]}, "file numbers (7, 9, 42, ...) differ between"),
    ],
)
def test_numbers_become_samples(numbers: dict[str, list[int]], samples: dict[str, list[int]], told: str) -> None:
    files = [Found(f"{key}/{number}.png", key, number) for key in numbers for number in numbers[key]]
    found, said = samples_of(files)
    assert {key: sorted(s for p, s in found if p == key) for key in numbers} == samples
    assert said.startswith(told)
    assert bool(said) == bool(told)
