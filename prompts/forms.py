"""What is in a prompt file, row by row, whatever its form: plain text, JSON Lines, a JSON list, CSV, TSV or parquet.

A row is where it stands, a number that names its prompt where the file gives no id, and its content: a text, or a table
of columns. Which column holds the prompts is decided in `prompts.sets`.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompts.decoding import decoded
from prompts.limits import MOST_BYTES, PromptError

logger = logging.getLogger(__name__)

JSON_LINES = frozenset({".jsonl", ".ndjson", ".json"})
TABLES = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET = frozenset({".parquet", ".pq"})
ENDINGS = frozenset({".txt", *JSON_LINES, *TABLES, *PARQUET})
"""The endings by which a word is known to be a prompt file."""
_NOT_READ = frozenset(
    {".yaml", ".yml", ".toml", ".xlsx", ".xls", ".ods", ".html", ".xml", ".pkl", ".npy", ".npz", ".arrow", ".feather"}
    | {".zip", ".gz", ".docx", ".pdf", ".png", ".jpg", ".safetensors", ".pt", ".py"}
)
FORMS = "one prompt a line (.txt), JSON Lines (.jsonl), a JSON list (.json), CSV, TSV or parquet"
COLUMNS = frozenset({"prompt", "prompts", "caption", "captions", "text"})
"""Columns that hold the prompts, in lower case, when no column is named."""
_COMMENT = re.compile(r"#(?:\s|[#!]|$)")
_WORD = re.compile(r"\w{1,40}")
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its place in words, its number from 1 (of the line, of the item or of the row of a table), its content.

    `cells`: the content is of a table, where every value is a cell, and other columns are no slips.
    """

    where: str
    number: int
    content: str | dict[str, Any]
    cells: bool = False


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a file. Raises PromptError, one sentence with the file and the line."""
    ending = path.suffix.lower()
    data = _bytes(path, ending)
    if ending in PARQUET:
        return _parquet(path)
    text = decoded(path, data)
    if ending in TABLES:
        return _table(path, text, TABLES[ending])
    if ending in JSON_LINES and text.lstrip()[:1] == "[":
        return _json_list(path, text)
    if ending == ".json" and _is_one_object(text):
        raise PromptError(f"{path} is one JSON object: write a list of strings, or of objects with a prompt each")
    lines = _without_comments(path, text)
    first = lines[0][1] if lines else ""
    if ending in JSON_LINES or first[:1] == "{":
        return _json_lines(path, lines)
    _check_first_line(path, lines)
    return (Row(f"{path}: line {number}", number, line) for number, line in lines)


def listed(names: Sequence[str]) -> str:
    """Names of columns in quotes, the first of many, each cut."""
    shown = [f"'{name[:40]}'" for name in names[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _bytes(path: Path, ending: str) -> bytes:
    if path.is_dir():
        raise PromptError(f"{path} is a folder, not a prompt file")
    if path.name.startswith("._"):
        raise PromptError(f"{path} is a file of macOS about '{path.name[2:]}', not a prompt file: pass that one")
    if path.exists() and not path.is_file():
        raise PromptError(f"{path} is not a regular file: write the prompts to a file first")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PromptError(f"prompt file {path} has more than {MOST_BYTES >> 20} MiB: split it")
        data = b"" if ending in PARQUET and path.is_file() else path.read_bytes()
    except FileNotFoundError:
        raise PromptError(f"prompt file {path} does not exist") from None
    except OSError as error:
        raise PromptError(f"prompt file {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise PromptError(f"prompt file {str(path)!r} has a NUL in its name, which no file has") from None
    if ending in _NOT_READ:
        raise PromptError(f"{path}: prompts are not read from {ending} files: save them as {FORMS}")
    return data


def _without_comments(path: Path, text: str) -> list[tuple[int, str]]:
    """The lines that are not blank, stripped, with their numbers from 1; comments are left out, and that is said."""
    lines, comments, doubtful = [], [], []
    # Lines end as in bytes: other characters that Python splits strings at may stand within a prompt.
    for number, raw in enumerate(re.split("\r\n|\n|\r", text), start=1):
        line = raw.strip()
        if _COMMENT.match(line):
            comments.append((number, line))
            continue
        if line.startswith("#"):
            doubtful.append((number, line))
        if line:
            lines.append((number, line))
    if comments:
        logger.warning(f"{path}: {_counted(comments)} skipped as comments, first line {_told(comments)}")
    if doubtful and len(doubtful) < len(lines) and not lines[0][1].startswith("{"):
        logger.warning(
            f"{path}: {_counted(doubtful)} taken as prompts though they begin with '#', first line {_told(doubtful)}; "
            "a comment has a space after its '#'"
        )
    return lines


def _counted(lines: Sequence[Any]) -> str:
    return "1 line is" if len(lines) == 1 else f"{len(lines):,} lines are"


def _told(lines: Sequence[tuple[int, str]]) -> str:
    return f"{lines[0][0]} ('{lines[0][1][:60]}')"


def _check_first_line(path: Path, lines: Sequence[tuple[int, str]]) -> None:
    """PromptError for a table that is called a text: its header would be a prompt."""
    if not lines or path.suffix.lower() in TABLES:
        return
    for delimiter, name in ((",", ".csv"), ("\t", ".tsv"), (";", ".csv")):
        cells = [cell.strip('"') for cell in lines[0][1].split(delimiter)]
        is_header = all(_WORD.fullmatch(cell) for cell in cells)
        if is_header and any(cell.casefold() in COLUMNS for cell in cells):
            raise PromptError(
                f"{path}: line {lines[0][0]} ('{lines[0][1][:60]}') is the header of a table, not a prompt: name the "
                f"file {name}, or remove that line"
            )


def _loaded(where: str, text: str, one_line: bool) -> Any:
    """JSON, or PromptError for what is none, or more than this program reads."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if one_line else f"line {error.lineno}"
        raise PromptError(f"{where}: not valid JSON ({error.msg}, {place})") from None
    except RecursionError:
        raise PromptError(f"{where}: its values are nested too deeply for a prompt") from None
    except ValueError:  # an integer of thousands of digits
        raise PromptError(f"{where}: it contains an integer of too many digits to be read") from None


def _is_one_object(text: str) -> bool:
    """Whether a file is an object around its prompts; one line with a prompt of its own is a line of JSON Lines."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return False
    single = isinstance(content, dict) and "\n" not in text.strip()
    return isinstance(content, dict) and not (single and any(isinstance(value, str) for value in content.values()))


def _json_lines(path: Path, lines: Sequence[tuple[int, str]]) -> Iterator[Row]:
    for number, line in lines:
        where = f"{path}: line {number}"
        content = _loaded(where, line, True)
        if not isinstance(content, dict):
            raise PromptError(f'{where}: expected one JSON object a line, {{"id": "...", "text": "..."}}')
        yield Row(where, number, content)


def _json_list(path: Path, text: str) -> Iterator[Row]:
    content = _loaded(str(path), text, False)
    if not isinstance(content, list):
        raise PromptError(f"{path}: expected a JSON list")
    for number, item in enumerate(content, start=1):
        where = f"{path}: item {number}"
        if not isinstance(item, str | dict):
            kind = "null" if item is None else type(item).__name__
            raise PromptError(f"{where}: expected a string or an object with a prompt, got {kind}")
        yield Row(where, number, item.strip() if isinstance(item, str) else item)


def _table(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    """CSV or TSV with a header; where the delimiter of a CSV is another one, that is found by the prompt column."""
    text = _without_leading_comments(path, text)
    if delimiter == ",":
        head = text.splitlines()[0] if text.strip() else ""
        others = [other for other in (",", ";", "\t") if _has_column(head.split(other))]
        delimiter = others[0] if others and not _has_column(head.split(",")) else delimiter
    quoted = _cells(path, text, delimiter, csv.QUOTE_MINIMAL)
    if delimiter == "\t":
        quoted = _unquoted_or(path, text, quoted)
    if isinstance(quoted, PromptError):
        raise quoted
    if not quoted:
        return
    (_, header), *body = quoted
    header = [name.strip() for name in header]
    again = sorted({name for name in header if header.count(name) > 1 and name})
    if again:
        raise PromptError(f"{path}: several columns are called {listed(again)}: rename them")
    for number, (line, cells) in enumerate(body, start=1):
        yield Row(f"{path}: line {line}", number, dict(zip(header, cells, strict=True)), True)


def _cells_of(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _has_column(cells: Sequence[str]) -> bool:
    return any(cell.strip().strip('"').casefold() in COLUMNS for cell in cells)


def _without_leading_comments(path: Path, text: str) -> str:
    """Comments above a table's header are left blank, so that the numbers of the lines stay, and that is said."""
    lines = text.splitlines(keepends=True)
    comments = []
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        if not _COMMENT.match(line):
            break
        comments.append((index + 1, line.strip()))
        lines[index] = "\n"
    if comments:
        logger.warning(f"{path}: {_counted(comments)} skipped as comments, first line {_told(comments)}")
    return "".join(lines)


_Cells = list[tuple[int, list[str]]]


def _cells(path: Path, text: str, delimiter: str, quoting: Any) -> _Cells | PromptError:
    """The rows that are not blank with the line that each begins on; or what is wrong with one of them."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    rows: _Cells = []
    last = 0
    try:
        for cells in reader:
            line, last = last + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if rows and len(cells) != len(rows[0][1]):
                count = len(rows[0][1])
                hint = ": put a text that contains the delimiter in double quotes" if len(cells) > count else ""
                return PromptError(f"{path}: line {line}: {_cells_of(len(cells))}, but the header has {count}{hint}")
            rows.append((line, cells))
    except csv.Error as error:
        return PromptError(f"{path}: line {max(reader.line_num, 1)}: not valid CSV ({error})")
    return rows


def _unquoted_or(path: Path, text: str, quoted: _Cells | PromptError) -> _Cells | PromptError:
    """The cells of a TSV, whose quotes are part of the text for some writers and around it for others."""
    plain = _cells(path, text, "\t", csv.QUOTE_NONE)
    if isinstance(plain, PromptError):
        return quoted if not isinstance(quoted, PromptError) else plain
    if isinstance(quoted, PromptError) or plain == quoted:
        return plain
    if all(cell[:1] == cell[-1:] == '"' for _, cells in plain for cell in cells):  # a writer that quotes everything
        return quoted
    for (line, one), (_, other) in zip(plain, quoted, strict=False):
        for cell, without in zip(one, other, strict=False):
            if cell != without:
                return PromptError(
                    f"{path}: line {line}: quotes stand around or in the text, {cell[:40]} or {without[:40]}: save the "
                    "table as CSV or JSON Lines, where this is not open"
                )
    return PromptError(f"{path}: its quotes can be read in two ways: save the table as CSV or JSON Lines")


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
        columns = {name: column.to_pylist() for name, column in zip(table.column_names, table.columns, strict=True)}
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["unknown"])[0][:120]
        raise PromptError(f"{path} cannot be read as parquet ({reason})") from None
    for index in range(table.num_rows):
        content = {name: values[index] for name, values in columns.items()}
        yield Row(f"{path}: row {index + 1}", index + 1, content, True)
