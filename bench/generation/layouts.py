"""How folders of images name their prompts and samples: each layout of the field as a function, and which one is meant.

A layout says of each file which prompt it is of, and a number among that prompt's images. Where two layouts read one
folder differently, neither is guessed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bench.errors import UsageError, unknown
from bench.formatting import shorten
from prompts import Prompt

_DIGITS = r"([0-9]{1,20})"
_SAMPLE = re.compile(rf"(?:[A-Za-z]+[_\- ]?)?{_DIGITS}")
_NUMBERED = re.compile(rf"(.+)[_\-]{_DIGITS}")
_INDEX = re.compile(_DIGITS)
METADATA = "metadata.jsonl"


@dataclass(frozen=True, slots=True)
class Found:
    """One file under a layout: the prompt that it is of, and its number among that prompt's images."""

    name: str  # relative to the folder, with slashes
    prompt_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A folder as a layout reads it. `texts`: what it says the prompts are, file -> (prompt id, text)."""

    layout: str
    files: tuple[Found, ...]
    texts: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def prompt_of(self) -> dict[str, str]:
        """File -> prompt id: what two readings may differ in."""
        return {one.name: one.prompt_id for one in self.files}


class Ids:
    """The prompts by their ids, whatever the capitals and the leading zeros."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self.prompts = list(prompts)
        self._exact = {prompt.id: prompt.id for prompt in prompts}
        common = Counter(_canonical(prompt.id) for prompt in prompts)
        self._loose = {_canonical(p.id): p.id for p in prompts if common[_canonical(p.id)] == 1}

    def get(self, name: str) -> str | None:
        """The id that a name means; None for none."""
        return self._exact.get(name) or self._loose.get(_canonical(name))


def _canonical(name: str) -> str:
    return re.sub(r"[0-9]+", lambda digits: digits.group().lstrip("0") or "0", name.casefold())


def read_layout(folder: Path, names: Sequence[str], prompts: Sequence[Prompt], layout: str | None) -> Reading | None:
    """The folder's image files as `layout` reads them (None: as the only layout does that fits); None where none fits.

    Raises UsageError: an unknown layout, two that read the folder differently, or prompts in the folder that are not
    those of the prompt file.
    """
    if layout is not None and layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    ids = Ids(prompts)
    chosen = LAYOUTS if layout is None else {layout: LAYOUTS[layout]}
    readings = [reading for name, read in chosen.items() if (reading := read(name, folder, names, ids)).files]
    kept = [one for index, one in enumerate(readings) if not _is_within_another(index, readings)]
    if not kept:
        return None
    if len(kept) > 1:
        raise UsageError(_ambiguous(folder, *kept[:2]))
    _check_texts(folder, kept[0], prompts)
    return kept[0]


def _is_within_another(index: int, readings: Sequence[Reading]) -> bool:
    """Whether another reading says the same and more, or an earlier one the same."""
    mine = readings[index].prompt_of.items()
    for other, reading in enumerate(readings):
        theirs = reading.prompt_of.items()
        if other != index and mine <= theirs and (len(mine) < len(theirs) or other < index):
            return True
    return False


def _ambiguous(folder: Path, a: Reading, b: Reading) -> str:
    first, second = a.prompt_of, b.prompt_of
    name = next((one for one in first if second.get(one) not in (None, first[one])), next(iter(first)))
    told = f"prompt '{second[name]}'" if name in second else "no image of these prompts"
    return (
        f"{folder} can be read in two ways: {name} is of prompt '{first[name]}' with --layout {a.layout}, and {told} "
        f"with --layout {b.layout}: pass one of them"
    )


def _check_texts(folder: Path, reading: Reading, prompts: Sequence[Prompt]) -> None:
    """UsageError where the folder says another prompt than the prompt file."""
    texts = {prompt.id: prompt.text for prompt in prompts}
    for where, (prompt_id, text) in reading.texts.items():
        if " ".join(text.split()) != " ".join(texts[prompt_id].split()):
            raise UsageError(
                f"{folder / where} says the prompt is '{shorten(text)}', but prompt '{prompt_id}' of the prompt file "
                f"is '{shorten(texts[prompt_id])}': pass the prompts that these images were made from"
            )


def _parts(name: str) -> tuple[tuple[str, ...], str]:
    """The folders of a file, and its name without the ending."""
    path = PurePosixPath(name)
    return path.parts[:-1], path.stem


def _folders(layout: str, folder: Path, names: Sequence[str], ids: Ids) -> Reading:
    """<id>/<n>.png"""
    found = []
    for name in names:
        folders, stem = _parts(name)
        sample = _SAMPLE.fullmatch(stem)
        if len(folders) == 1 and sample and (prompt_id := ids.get(folders[0])):
            found.append(Found(name, prompt_id, int(sample[1])))
    return Reading(layout, tuple(found))


def _flat(layout: str, folder: Path, names: Sequence[str], ids: Ids) -> Reading:
    """<id>.png"""
    stems = ((name, *_parts(name)) for name in names)
    return Reading(
        layout,
        tuple(
            Found(name, prompt_id, 0) for name, folders, stem in stems if not folders and (prompt_id := ids.get(stem))
        ),
    )


def _numbered(layout: str, folder: Path, names: Sequence[str], ids: Ids) -> Reading:
    """<id>_<n>.png"""
    found = []
    for name in names:
        folders, stem = _parts(name)
        parts = _NUMBERED.fullmatch(stem)
        if not folders and parts and (prompt_id := ids.get(parts[1])):
            found.append(Found(name, prompt_id, int(parts[2])))
    return Reading(layout, tuple(found))


def _geneval(layout: str, folder: Path, names: Sequence[str], ids: Ids) -> Reading:
    """00000/samples/0000.png beside 00000/metadata.jsonl; 00000 is the first prompt."""
    found, texts = [], {}
    for name in names:
        folders, stem = _parts(name)
        sample = _INDEX.fullmatch(stem)
        if len(folders) != 2 or folders[1] != "samples" or not _INDEX.fullmatch(folders[0]) or not sample:
            continue
        index = int(folders[0])
        if index < len(ids.prompts):
            prompt_id = ids.prompts[index].id
            found.append(Found(name, prompt_id, int(sample[1])))
            where = f"{folders[0]}/{METADATA}"
            if where not in texts and (text := _metadata(folder / where)) is not None:
                texts[where] = (prompt_id, text)
    return Reading(layout, tuple(found), texts)


def _metadata(path: Path) -> str | None:
    """The prompt in a metadata file; None where there is no such file. Raises UsageError for one that says none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        text = json.loads(lines[0])["prompt"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise UsageError(f"{path} has no prompt: its first line must be a JSON object with 'prompt'") from None
    return str(text)


def _hpsv2(layout: str, folder: Path, names: Sequence[str], ids: Ids) -> Reading:
    """<style>/00000.jpg, where the ids of the style's prompts begin with it: anime-0001 is anime/00000."""
    styles: dict[str, list[str]] = {}
    for prompt in ids.prompts:
        if parts := _NUMBERED.fullmatch(prompt.id):
            styles.setdefault(_style(parts[1]), []).append(prompt.id)
    found = []
    for name in names:
        folders, stem = _parts(name)
        index = _INDEX.fullmatch(stem)
        if len(folders) != 1 or not index:
            continue
        members = styles.get(_style(folders[0]), [])
        if int(index[1]) < len(members):
            found.append(Found(name, members[int(index[1])], 0))
    return Reading(layout, tuple(found))


def _style(name: str) -> str:
    return name.casefold().replace("_", "-")


def _texts(layout: str, folder: Path, names: Sequence[str], ids: Ids) -> Reading:
    """<prompt>_000000.png, the prompt itself, here or in `samples`; <prompt>.png as well."""
    common = Counter(_plain(prompt.text) for prompt in ids.prompts)
    by_text = {_plain(p.text): p.id for p in ids.prompts if common[_plain(p.text)] == 1 and _plain(p.text)}
    found = []
    for name in names:
        folders, stem = _parts(name)
        if folders not in ((), ("samples",)):
            continue
        parts = _NUMBERED.fullmatch(stem)
        if prompt_id := by_text.get(_plain(stem)):
            found.append(Found(name, prompt_id, 0))
        elif parts and (prompt_id := by_text.get(_plain(parts[1]))):
            found.append(Found(name, prompt_id, int(parts[2])))
    return Reading(layout, tuple(found))


def _plain(text: str) -> str:
    """A text as a file's name may hold it: without slashes, a full stop at the end, and the difference of case."""
    return " ".join(re.sub(r"[/\\:*?\"<>|]", " ", text).casefold().split()).rstrip(". ")


def _by_index(first: int) -> Callable[[str, Path, Sequence[str], Ids], Reading]:
    def read(layout: str, folder: Path, names: Sequence[str], ids: Ids) -> Reading:
        """<i>.png, <i>_<n>.png or <i>/<n>.png, where i is the place of the prompt in the prompt file."""
        found = [(name, index - first, number) for name, index, number in _indices(names)]
        count = len(ids.prompts)
        if any(not 0 <= index < count for _, index, _ in found):
            return Reading(layout, ())  # another beginning, or other prompts
        return Reading(layout, tuple(Found(name, ids.prompts[index].id, number) for name, index, number in found))

    return read


def _indices(names: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    for name in names:
        folders, stem = _parts(name)
        whole = _INDEX.fullmatch(stem)
        if not folders and whole:
            yield name, int(whole[1]), 0
        elif not folders and (parts := _NUMBERED.fullmatch(stem)) and _INDEX.fullmatch(parts[1]):
            yield name, int(parts[1]), int(parts[2])
        elif len(folders) == 1 and _INDEX.fullmatch(folders[0]) and (sample := _SAMPLE.fullmatch(stem)):
            yield name, int(folders[0]), int(sample[1])


LAYOUTS: dict[str, Callable[[str, Path, Sequence[str], Ids], Reading]] = {
    "folders": _folders,
    "flat": _flat,
    "numbered": _numbered,
    "geneval": _geneval,
    "hpsv2": _hpsv2,
    "imagereward": _numbered,
    "t2i-compbench": _texts,
    "index0": _by_index(0),
    "index1": _by_index(1),
}
"""By the names of `--layout`; that of ImageReward's benchmark is `numbered` under its own name."""


def samples_of(files: Sequence[Found]) -> tuple[dict[tuple[str, int], str], str]:
    """(prompt id, sample) -> file, samples from 0; and a sentence where they are not the numbers in the names, else "".

    Numbers of which at most half are missing are samples, and those not there are missing; other numbers are seeds,
    taken in their order. Raises UsageError for two files of one sample.
    """
    by_prompt: dict[str, dict[int, str]] = {}
    for one in files:
        numbers = by_prompt.setdefault(one.prompt_id, {})
        if one.number in numbers:
            raise UsageError(
                f"{numbers[one.number]} and {one.name} are both image {one.number} of prompt '{one.prompt_id}': remove "
                "one of them"
            )
        numbers[one.number] = one.name
    everything = sorted({number for numbers in by_prompt.values() for number in numbers})
    most = max(map(len, by_prompt.values()))
    first, last = everything[0], everything[-1]
    if first <= 1 and last - min(first, 1) < 2 * most:
        shift = 1 if first == 1 and last >= most else 0
        told = "files are numbered from 1: number 1 is sample 0" if shift else ""
        return {(p, number - shift): name for p, numbers in by_prompt.items() for number, name in numbers.items()}, told
    shown = ", ".join(map(str, everything[:3])) + (", ..." if len(everything) > 3 else "")
    if len(everything) == most:  # the same seeds for all prompts: a missing image stays a missing one
        rank = {number: index for index, number in enumerate(everything)}
        found = {(p, rank[number]): name for p, numbers in by_prompt.items() for number, name in numbers.items()}
        return found, f"file names are seeds ({shown}), the same for all prompts: in their order they are the samples"
    found = {
        (p, index): numbers[number] for p, numbers in by_prompt.items() for index, number in enumerate(sorted(numbers))
    }
    return found, f"file numbers ({shown}) differ between prompts: in their order they are each prompt's samples"
