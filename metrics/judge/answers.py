"""What counts as an answer: the spellings of Yes, of a number, of a letter. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable

YES = ("Yes", "yes", " yes", " Yes")
NO = ("No", "no", " no", " No")
LEAST = 0.5
"""Where the answers that were asked for have less of the probability together, the judge gave none of them."""
_DIGITS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}


def number_spellings(word: str) -> tuple[str, ...]:
    """A number's word, capitalised too, and its digits, each without and with a space in front.

    >>> number_spellings("two")
    ('two', 'Two', ' two', ' Two', '2', ' 2')
    """
    words = (word, word.capitalize())
    digits = (_DIGITS[word],) if word in _DIGITS else ()
    return (*words, *(f" {one}" for one in words), *digits, *(f" {one}" for one in digits))


def letter_spellings(letter: str) -> tuple[str, ...]:
    """A letter of a multiple choice, without and with a space in front."""
    return (letter, f" {letter}")


def first_tokens(spellings: Iterable[str], tokenizer: object, special: frozenset[int]) -> tuple[int, ...]:
    """The first token of every spelling, each once and no special one, in ascending order.

    Two spellings may begin with one token (" 1" and " 2" both begin with a space in Qwen's vocabulary); counted twice
    it would make a probability above 1.
    """
    encode = tokenizer.encode  # type: ignore[attr-defined]
    firsts = {ids[0] for one in spellings if (ids := encode(one, add_special_tokens=False))}
    return tuple(sorted(firsts - special))
