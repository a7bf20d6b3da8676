from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import prompts
from prompts import MissingPromptsError, public
from prompts.catalogue import PublicSet

SETS = {
    "lines": PublicSet("lines", "t", 2, {"a/test.txt": ""}, git="o/n", revision="r", unique=True),
    "texts": PublicSet("texts", "t", 3, {"x/one.json": "", "x/two.json": ""}, hub="o/n", format="json"),
    "objects": PublicSet("objects", "t", 2, {"test.json": ""}, hub="o/n", format="json", key="prompt"),
    "tagged": PublicSet("tagged", "t", 2, {"m.jsonl": ""}, format="jsonl", key="prompt", tags=("tag",)),
    "table": PublicSet("table", "t", 2, {"p.tsv": ""}, format="tsv", key="Prompt", tags=("Category", "Note")),
    "comma": PublicSet("comma", "t", 2, {"p.csv": ""}, format="csv", key="text", tags=("kind",), unique=True),
    "skilled": PublicSet("skilled", "t", 1, {"s.jsonl": ""}, format="jsonl", key="prompt", tags=("skills",)),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_PROMPTS", str(tmp_path))
    monkeypatch.setattr("prompts.sets.public_sets", lambda: SETS)
    return tmp_path


def put(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir(exist_ok=True)
    for file, text in files.items():
        (folder / name / file.replace("_", ".")).write_text(text, encoding="utf-8")


def test_each_format(folder: Path) -> None:
    put(folder, "lines", test_txt="a red  circle\n\n a blue star \na red circle\n")
    put(folder, "texts", one_json='["x", "y"]', two_json='["y"]')
    put(folder, "objects", test_json='[{"prompt": "x", "rank": [1]}, {"prompt": "y"}]')
    put(folder, "tagged", m_jsonl='{"tag": "count", "prompt": "x"}\n{"tag": "", "prompt": "y"}\n')
    put(folder, "table", p_tsv='Prompt\tCategory\tNote\na "word\tArts\t\nb\tPeople\tlong\n')
    put(folder, "comma", p_csv='kind,text\nA,"two\n lines, one text"\nB,y\nA,y\n')
    put(folder, "skilled", s_jsonl='{"prompt": "x", "skills": ["count", "object", "count"]}\n')
    read = {name: [(row.id, row.text, row.tags) for row in prompts.load(name)] for name in SETS}
    assert read == {
        "lines": [("lines-0001", "a red circle", ()), ("lines-0002", "a blue star", ())],
        "texts": [("one-0001", "x", ("one",)), ("one-0002", "y", ("one",)), ("two-0001", "y", ("two",))],
        "objects": [("objects-0001", "x", ()), ("objects-0002", "y", ())],
        "tagged": [("tagged-0001", "x", ("count",)), ("tagged-0002", "y", ())],
        "table": [("table-0001", 'a "word', ("Arts",)), ("table-0002", "b", ("People", "long"))],
        "comma": [("comma-0001", "two lines, one text", ("A",)), ("comma-0002", "y", ("B",))],
        "skilled": [("skilled-0001", "x", ("count", "object"))],
    }


@pytest.mark.parametrize("text", ["a\n", "a\nb\nc\n", "\n"])
def test_another_number_of_prompts_is_refused(folder: Path, text: str) -> None:
    put(folder, "lines", test_txt=text)
    with pytest.raises(
        MissingPromptsError, match="'lines' has 2 prompts, but [013] were found in .*test.txt"
    ) as caught:
        prompts.load("lines")
    assert caught.value.exit_code == 4


def test_another_file_than_the_known_one_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = hashlib.sha256(b"a\nb\n").hexdigest()
    pinned = PublicSet("lines", "t", 2, {"a/test.txt": right}, git="o/n", revision="r")
    assert pinned.pinned
    monkeypatch.setitem(SETS, "lines", pinned)
    put(folder, "lines", test_txt="a\nb\n")
    assert len(prompts.load("lines")) == 2
    put(folder, "lines", test_txt="a\nc\n")
    with pytest.raises(
        MissingPromptsError, match=f"is not the file a/test.txt of .*, not {right}; get revision r from o/n"
    ):
        prompts.load("lines")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("objects", "{", "cannot be read as json"),
        ("objects", '{"prompt": "x"}', "expected a list"),
        ("objects", '[{"text": "x"}, {"text": "y"}]', "no 'prompt'"),
        ("objects", '[{"prompt": 3}]', "a prompt is not a string: 3"),
        ("tagged", "[1]\n", "cannot be read as jsonl"),
    ],
)
def test_files_that_changed(folder: Path, name: str, text: str, words: str) -> None:
    put(folder, name, **{"test_json" if name == "objects" else "m_jsonl": text})
    with pytest.raises(MissingPromptsError, match=words) as caught:
        prompts.load(name)
    assert "\n" not in str(caught.value)


def test_sets_of_the_hub_are_asked_for_and_what_lies_there_wins(folder: Path, tmp_path: Path) -> None:
    asked: list[tuple[str, str, str]] = []
    source = tmp_path / "elsewhere.json"
    source.write_text(json.dumps([{"prompt": "x"}, {"prompt": "y"}]))

    def fetch(dataset: str, revision: str, file: str) -> Path:
        asked.append((dataset, revision, file))
        return source

    assert len(prompts.load("objects", fetch)) == 2
    assert set(asked) == {("o/n", "", "test.json")}
    asked.clear()
    put(folder, "objects", test_json='[{"prompt": "x"}, {"prompt": "z"}]')
    assert prompts.load("objects", fetch)[1].text == "z"
    assert asked == []
    with pytest.raises(MissingPromptsError, match="get it from its authors"):
        prompts.load("tagged", fetch)


def test_the_catalogue_is_well_formed() -> None:
    for name, entry in prompts.public_sets().items():
        assert entry.format in public.READERS, name
        assert entry.files, name
        assert bool(entry.key) == (entry.format in ("jsonl", "tsv", "csv") or name == "hpdv2-test"), name
        assert all(len(digest) in (0, 64) for digest in entry.files.values()), name
        assert not entry.git or entry.pinned, name  # what is got by hand can be told from something else
        assert len({Path(file).name for file in entry.files}) == len(entry.files), name
