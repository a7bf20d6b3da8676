"""What a prompt file may be, and the error for one that may not."""

from __future__ import annotations

from typing import ClassVar

MOST_BYTES, MOST_PROMPT_BYTES = 256 << 20, 64 << 10
"""Of a file, and of a prompt in it: more is no prompt."""


class PromptError(ValueError):
    """A prompt set or file that cannot be used; the text is one sentence with file and line (exit code 2)."""

    exit_code: ClassVar[int] = 2
