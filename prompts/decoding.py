"""The bytes of a prompt file as text: UTF-8 and nothing else."""

from __future__ import annotations

from pathlib import Path

from prompts.limits import PromptError

_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def decoded(path: Path, data: bytes) -> str:
    """The text, without a byte order mark. Raises PromptError for another encoding, with the line where it is seen."""
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            raise PromptError(f"{path} is {name} text: save it as UTF-8")
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        raise PromptError(f"{path}: line {line}: not text (it has a NUL byte): save the prompts as UTF-8 text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(data[: error.start].splitlines()) + (data[error.start - 1 : error.start] in (b"\n", b"\r", b""))
        raise PromptError(f"{path}: line {max(line, 1)}: not valid UTF-8 text") from None
