from __future__ import annotations

from pathlib import Path

import pytest

import prompts
from prompts import MissingPromptsError, Prompt, PromptError


def write(folder: Path, text: str | bytes, name: str = "set.jsonl") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_json_lines(tmp_path: Path) -> None:
    path = write(tmp_path, '{"id": "a", "text": " a red circle "}\n\n{"id": "b", "text": "é", "tags": ["x", "y"]}\n')
    assert prompts.read(path) == [Prompt("a", "a red circle"), Prompt("b", "é", ("x", "y"))]
    assert prompts.load(str(path)) == prompts.read(path)


def test_plain_text_ids_follow_the_lines(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbfa red circle\r\n\r\n  a blue star\n", "set.txt")
    assert prompts.read(path) == [Prompt("p0001", "a red circle"), Prompt("p0003", "a blue star")]


def test_json_lines_under_another_ending(tmp_path: Path) -> None:
    path = write(tmp_path, '{"id": "a", "text": "x"}\n', "set.txt")
    assert prompts.read(path) == [Prompt("a", "x")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: not valid JSON ("),
        ("[1]", "line 2: expected one JSON object a line"),
        ('{"id": "b"}', "line 2: the prompt has no 'text'"),
        ('{"text": "x"}', "line 2: the prompt has no 'id'"),
        ('{"id": 7, "text": "x"}', "line 2: 'id' must be a string, got 7"),
        ('{"id": "b", "text": null}', "line 2: 'text' must be a string, got null"),
        ('{"id": "b", "text": "  "}', "line 2: the text of prompt 'b' is empty"),
        ('{"id": "b", "text": "x", "tags": "t"}', "line 2: 'tags' must be a list of strings"),
        ('{"id": "b", "text": "x", "tag": []}', "line 2: unknown key 'tag'. Did you mean 'tags'?"),
        ('{"id": "a", "text": "x"}', "line 2: prompt id 'a' is already used in line 1"),
        ('{"id": "A", "text": "x"}', "line 2: prompt id 'A' differs only in case from 'a' in line 1"),
    ],
)
def test_mistakes_are_told_with_file_and_line(tmp_path: Path, line: str, words: str) -> None:
    path = write(tmp_path, f'{{"id": "a", "text": "x"}}\n{line}\n')
    with pytest.raises(PromptError) as caught:
        prompts.read(path)
    assert str(caught.value).startswith(f"{path}: {words}")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("bad", ["../up", "a/b", "a\\\\b", "..", "a..b", ".a", "-a", "", "a b", "é", "x" * 101])
def test_ids_that_are_no_file_names(tmp_path: Path, bad: str) -> None:
    path = write(tmp_path, f'{{"id": "{bad}", "text": "x"}}\n')
    with pytest.raises(PromptError, match="line 1: prompt id .* is not safe as a file name"):
        prompts.read(path)


@pytest.mark.parametrize("text", ["", "\n  \n"])
@pytest.mark.parametrize("name", ["set.jsonl", "set.txt"])
def test_an_empty_file(tmp_path: Path, text: str, name: str) -> None:
    path = write(tmp_path, text, name)
    with pytest.raises(PromptError) as caught:
        prompts.read(path)
    assert str(caught.value) == f"{path}: the prompt file is empty, it needs at least one prompt"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = write(tmp_path, b"fine\n\xff\xfe\n", "set.txt")
    with pytest.raises(PromptError, match="line 2: not valid UTF-8 text"):
        prompts.read(path)


def test_a_path_that_is_not_there_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="has a NUL in its name"):
        prompts.read(tmp_path / "a\0.txt")
    with pytest.raises(PromptError, match="does not exist"):
        prompts.load(str(tmp_path / "none.jsonl"))
    with pytest.raises(PromptError, match="is a folder"):
        prompts.load(str(tmp_path))


def test_shipped_sets_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prompts.sets._SHIPPED", tmp_path)
    lines = [f'{{"id": "s{k}", "text": "a circle {k}"}}' for k in range(4)]
    write(tmp_path, "\n".join(lines), "shapes.jsonl")
    assert prompts.names() == ["shapes"]
    assert [prompt.id for prompt in prompts.load("shapes")] == ["s0", "s1", "s2", "s3"]
    with pytest.raises(PromptError, match="unknown prompt set 'shpes'. Did you mean 'shapes'"):
        prompts.load("shpes")


def test_a_public_set_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PROMPTS", str(tmp_path))
    path = tmp_path / "hpdv2-test" / "test.json"
    with pytest.raises(MissingPromptsError) as caught:
        prompts.load("hpdv2-test")
    assert "'hpdv2-test' (400 prompts) is not on this machine: get it from ymhao/HPDv2 on the" in str(caught.value)
    assert f"and put it at {path}, or pass a file of your own with --prompts FILE" in str(caught.value)
    assert MissingPromptsError.exit_code == 4
    with pytest.raises(
        MissingPromptsError, match=r"run `curl -L --create-dirs -o .*geneval.*/evaluation_metadata.jsonl`"
    ):
        prompts.load("geneval")


def test_the_catalogue_keeps_the_two_hpd_sets_apart() -> None:
    sets = prompts.public_sets()
    assert (sets["hpdv2-test"].count, sets["hpdv2-bench"].count) == (400, 3200)
    assert all(entry.title and entry.count > 0 for entry in sets.values())


def test_every_shipped_set_reads() -> None:
    for name in prompts.names():
        assert prompts.load(name)


def test_the_digest_covers_ids_and_texts_only() -> None:
    a, b = Prompt("a", "x"), Prompt("b", "y")
    whole = prompts.digest([a, b])
    assert len(whole) == 64
    assert whole == prompts.digest([b, Prompt("a", "x", ("tag",))])
    others = [[a], [a, Prompt("b", "z")], [a, Prompt("c", "y")], [Prompt("a", 'x"], ["b'), b], [Prompt("b", "x")]]
    assert len({whole, *map(prompts.digest, others)}) == 6
