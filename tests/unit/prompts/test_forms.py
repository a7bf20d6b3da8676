"""Prompt files as people have them: each form with its prompts, and what is refused, in one sentence."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

import prompts
from prompts import Prompt, PromptError

TWO = [Prompt("p0001", "a red circle, big"), Prompt("p0002", "a blue star")]
DEEP = "[" * 100_000


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'Prompts,Category\n"a red circle, big",Colors\na blue star,Shapes\n'),
        ("a.csv", 'n,caption\r\n1,"a red circle, big"\r\n\r\n2,a blue star\r\n'),
        ("a.csv", '\ufeffprompt\n"a red circle, big"\n"a blue star"\n'),
        ("a.csv", "prompt;n\na red circle, big;1\na blue star;2\n"),
        ("a.csv", "prompt\tn\na red circle, big\t1\na blue star\t2\n"),
        ("a.csv", '# my prompts\n\nText\n"a red circle, big"\na blue star\n'),
        ("A.CSV", 'PROMPT\n"a red circle, big"\na blue star\n'),
        ("a.tsv", "Prompt\tCategory\na red circle, big\tx\na blue star\ty\n"),
        ("a.tsv", '"Prompt"\t"Category"\n"a red circle, big"\t"x"\n"a blue star"\t"y"\n'),
        ("a.json", '["a red circle, big", "a blue star"]'),
        ("a.json", '[\n {"prompt": "a red circle, big", "n": 1},\n {"prompt": "a blue star"}\n]'),
        ("a.jsonl", '{"prompt": "a red circle, big", "tag": "x"}\n{"prompt": "a blue star", "include": [{}]}\n'),
        ("a.jsonl", '["a red circle, big", "a blue star"]'),
        ("a.jsonl", '# comment\n{"text": "a red circle, big"}\n{"text": "a blue star"}\n'.replace("# comment\n", "")),
        ("a.txt", '{"prompt": "a red circle, big"}\n{"prompt": "a blue star"}\n'),
        ("a.txt", "a red circle, big\na blue star\n"),
    ],
)
def test_forms_without_ids(tmp_path: Path, name: str, text: str) -> None:
    assert prompts.read(write(tmp_path, name, text)) == TWO


def test_ids_and_tags_of_a_table(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "id,prompt,tags,more\ns-1,x,a;b,\ns-2,y,,z\n")
    assert prompts.read(path) == [Prompt("s-1", "x", ("a", "b")), Prompt("s-2", "y")]
    assert prompts.load(str(path)) == prompts.read(path)


def test_numbers_are_ids_of_others_records(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"id": 397133, "caption": "x"}\n{"id": 37, "caption": "y"}\n')
    assert prompts.read(path) == [Prompt("397133", "x"), Prompt("37", "y")]
    for other, words in (("true", "line 2: 'id' must be a string, got true"), ('"397133"', "line 2: .*'397133'")):
        text = f'{{"id": 397133, "caption": "x"}}\n{{"id": {other}, "caption": "y"}}\n'
        with pytest.raises(PromptError, match=words):
            prompts.read(write(tmp_path, "b.jsonl", text))


@pytest.mark.parametrize("ids", [[3, 4], ["3", "4"]])
def test_parquet(tmp_path: Path, ids: list[object]) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"id": ids, "caption": ["x", "y"], "tags": [["a"], None]}), path)
    assert prompts.read(path) == [Prompt("3", "x", ("a",)), Prompt("4", "y")]
    with pytest.raises(PromptError, match="has no column 'captoin'. Did you mean 'caption'"):
        prompts.read(path, "captoin")
    pyarrow.parquet.write_table(pyarrow.table({"caption": ["x", None]}), path)
    with pytest.raises(PromptError, match="row 2: 'caption' must be a string, got null"):
        prompts.read(path)
    write(tmp_path, "b.parquet", b"PAR1 and nothing")
    with pytest.raises(PromptError, match="cannot be read as parquet"):
        prompts.read(tmp_path / "b.parquet")


def test_a_named_column_wins(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "prompt,short prompt\nlong,brief\n")
    assert prompts.read(path, "short prompt") == [Prompt("p0001", "brief")]
    rows = write(tmp_path, "a.jsonl", '{"id": "a", "text": "x", "recaptioned": "y"}\n')
    assert prompts.read(rows, "recaptioned") == [Prompt("a", "y")]
    with pytest.raises(PromptError, match="applies to prompt files, but 'shapes' is a prompt set"):
        prompts.load("shapes", column="prompt")
    with pytest.raises(PromptError, match="has no columns"):
        prompts.read(write(tmp_path, "a.txt", "x\n"), "prompt")


def test_the_ids_of_lines_do_not_move(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "# colours\na red circle\n\n#1 dad\n\u2028a\u2028b\n")
    found = prompts.read(path)
    assert [one.id for one in found] == ["p0002", "p0004", "p0005"]
    assert found[1].text == "#1 dad"


def test_comments_and_doubtful_lines_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "a.txt", "# colours\na red circle\n#1 dad\n## more\n")
    with caplog.at_level(logging.INFO):
        prompts.read(path)
    said = [record.getMessage() for record in caplog.records]
    assert f"{path}: 2 lines are skipped as comments, first line 1 ('# colours')" in said
    assert any("1 line is taken as prompts though they begin with '#', first line 3 ('#1 dad')" in one for one in said)


def test_unused_columns_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "a.csv", "prompt,Category,n\nx,y,1\n")
    with caplog.at_level(logging.INFO):
        prompts.read(path)
    assert f"{path}: prompts from column 'prompt', ids from p0001 on; not used: 'Category', 'n'" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "a red circle\na blue star\n", "no column is called prompt, caption or text. Its columns: 'a red ci"),
        ("a.csv", "n,promt\n1,x\n", "for example --prompt-column 'promt'"),
        ("a.csv", "prompt,caption\nx,y\n", "'prompt', 'caption' may each hold the prompts: name one with --prompt-col"),
        ("a.csv", "prompt,prompt\nx,y\n", "several columns are called 'prompt'"),
        ("a.csv", "n,prompt\n1,a red circle, big\n", "line 2: 3 cells, but the header has 2: put a text that contains"),
        ("a.csv", "n,prompt\n1\n", "line 2: 1 cell, but the header has 2"),
        ("a.csv", 'prompt\n"a red\n', "not valid CSV"),
        ("a.csv", "id,prompt\n../x,y\n", "line 2: prompt id \"../x\" is not safe as a file name"),
        ("a.csv", "id,prompt\na,y\na,z\n", "line 3: prompt id 'a' is already used in line 2"),
        ("a.csv", "n,prompt\n1, \n", "line 2: the text of prompt 'p0001' is empty"),
        ("a.csv", "prompt\n", "the prompt file is empty"),
        ("a.tsv", 'n\tPrompt\n1\t"quoted"\n', "line 2: quotes stand around or in the text"),
        ("a.txt", "id,prompt\n1,x\n", "line 1 ('id,prompt') is the header of a table, not a prompt: name the"),
        ("a.txt", "Prompt\tCategory\nx\ty\n", "is the header of a table, not a prompt: name the file .tsv"),
        ("a.txt", "prompt\nx\n", "is the header of a table"),
        ("a.json", "[1]", "item 1: expected a string or an object with a prompt, got int"),
        ("a.json", '["x", {"prompt": "y"}]', "item 2: an object among strings"),
        ("a.json", '{"prompts": ["x", "y"]}', "is one JSON object: write a list of strings, or of objects"),
        ("a.json", '{\n"1": {"prompt": "x"},\n"2": {"prompt": "y"}\n}', "is one JSON object"),
        ("a.json", '{"prompt": "x"}\n{"prompt": "y"', "line 2: not valid JSON"),
        ("a.json", '["x", ""]', "item 2: the text is empty"),
        ("a.json", '["x"', "not valid JSON ("),
        ("a.json", f"[{DEEP}", "nested too deeply"),
        ("a.json", f"[{'9' * 5000}]", "an integer of too many digits"),
        ("a.jsonl", '{"id": "a", "text": ' + DEEP, "line 1: its values are nested too deeply"),
        ("a.jsonl", '{"id": "a", "text": "x", "n": ' + "9" * 5000 + "}", "line 1: it contains an integer of too many"),
        ("a.jsonl", '{"id": "a", "text": "a red \\ud83d"}', "line 1: 'text' contains half of a surrogate pair"),
        ("a.jsonl", '{"id": "a", "text": "x", "tags": ["\\udc00"]}', "'tags' contains half of a surrogate pair"),
        ("a.jsonl", '{"id": "a", "text": "a\\u0000red"}', "line 1: 'text' contains a NUL character"),
        ("a.json", '["a red \\ud83d"]', "item 1: 'text' contains half of a surrogate pair"),
        ("a.jsonl", '{"prompt": "x"}\n{"caption": "y"}', "line 2: the prompt has no 'prompt'"),
        ("a.jsonl", '{"question": "x"}', "no column is called prompt, caption or text. Its columns: 'question'"),
        ("a.txt", "x".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        ("a.csv", "prompt\nx".encode("utf-16-be"), "not text (it has a NUL byte)"),
        ("a.txt", "\ufeffx".encode("utf-32-le"), "is UTF-32 text"),
        ("._a.txt", "Mac OS X", "is a file of macOS about 'a.txt'"),
        ("a.xlsx", b"PK", "prompts are not read from .xlsx files: save them as"),
        ("a.yaml", "- x\n", "prompts are not read from .yaml files"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, name: str, text: str | bytes, words: str) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(PromptError) as caught:
        prompts.read(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_whole_pair_of_surrogates_is_a_character(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", json.dumps({"id": "a", "text": "\N{GRINNING FACE}"}))
    assert prompts.read(path) == [Prompt("a", "\N{GRINNING FACE}")]
