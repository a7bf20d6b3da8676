"""What a fault costs: kills, flipped bits, damaged and swapped files, crowds, a full disk, removed folders, odd names.

    python benchmarks/faults.py --save faults.jsonl [--only TEXT] [--seconds N] [--trials N]
    python benchmarks/faults.py --save faults.jsonl --page > docs/reliability.md

Each trial injects one fault into a small job on the embedded suite, lets the same command run again (after the deletion
that a refusal asks for), and compares all values, pictures and summaries with those of an untouched job, to the last
bit. Trials that are in the file are not made again. A trial is *silent* where a command ends with 0, says nothing of
the fault, and shows other numbers; *lost* where finished work or a right number cannot be had again by that command.
"""

# mypy: disable-error-code="misc"
# Lambdas with defaults have no types of their own.

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fault_lab as lab
from fault_inputs import EDITS, FOLDERS, ODD, edited, hostile_folder, hostile_text, odd_input, read_only
from fault_world import CHECK, REPORT, RUN, SAYS_NOTHING, TAKE, TRAIN, UPDATE, Trial, World, outcome

# --- kills


def kill(world: World, command: tuple[str, ...], rng: random.Random, most: int, finished: bool) -> Trial:
    """Up to three kills in a row at calls that change files, then the same command."""
    folder, kills, unclean = world.fresh(finished), 0, ""
    for _ in range(3):
        number, how = rng.randint(1, most), rng.choice(("before", "half", "after"))
        done = lab.call(folder, *command, hook=lab.kill_at(number, how))
        kills += done.code == -9
        if done.code != -9:
            unclean = "" if done.clean else f"{done.code} {done.err[-200:]}"
            break
    good, why = world.again(command)
    if good and command in (RUN, CHECK, UPDATE, REPORT):
        good, why = world.again(RUN) if command != RUN else (good, why)
        why = world.same() if good else why
    left = lab.leftovers(folder)
    lost = bool(why or unclean or left) or not good
    return outcome(kills, False, lost, f"{why} {unclean} {left if left else ''}".strip())


def kill_training(world: World, rng: random.Random) -> Trial:
    """As `kill`; the checkpoint must come out the same."""
    folder = world.fresh()
    want = world.folder / "trained"
    if not want.exists():
        assert lab.call(folder, *TRAIN).code == 0
        shutil.copytree(folder / "t/m", want)
        folder = world.fresh()
    kills = 0
    for _ in range(3):
        hook = lab.kill_at(rng.randint(1, 90), rng.choice(("before", "half", "after")))
        kills += lab.call(folder, *TRAIN, hook=hook).code == -9
    done = lab.call(folder, *TRAIN)
    made = {path.name: path.read_bytes() for path in (folder / "t/m").glob("*")} if done.code == 0 else {}
    same = made == {path.name: path.read_bytes() for path in want.glob("*")}
    left = lab.leftovers(folder / "t") if (folder / "t").exists() else []
    return outcome(kills, False, not same or bool(left), "" if same and not left else f"{done.code} {done.err} {left}")


# --- files

KINDS = {
    "manifest": "r/runs/faults/refl@*/manifest.json",
    "digest of the manifest": "r/runs/faults/refl@*/manifest.json.sha256",
    "prompts": "r/runs/faults/refl@*/prompts-*.jsonl",
    "copy of how it was made": "r/runs/faults/refl@*/made.json",
    "summary": "r/runs/faults/refl@*/summary.json",
    "digest of the summary": "r/runs/faults/refl@*/summary.json.sha256",
    "image rows": "r/runs/faults/refl@*/images/part-*.parquet",
    "image values": "r/runs/faults/refl@*/scores/pickscore/part-*.parquet",
    "group values": "r/runs/faults/refl@*/scores/lpips/part-*.parquet",
    "set value": "r/runs/faults/refl@*/scores/fid/part-*.parquet",
    "left-out values": "r/runs/faults/refl@*/scores/fid/left_out-*.parquet",
    "card": "r/runs/faults/refl@*/scores/pickscore/card.json",
    "digest of a card": "r/runs/faults/refl@*/scores/lpips/card.json.sha256",
    "picture": "r/runs/faults/refl@*/images/*/0.png",
    "feature cache": "r/cache/features/*/part-*.npz",
    "reference statistics": "r/cache/fid-*.npz",
    "digest cache": "r/cache/digests/*.json",
    "baseline": "b.json",
}


def spoil(path: Path, how: str, kind: str, rng: random.Random) -> bool:
    """Damage a file; False where that kind of damage does not apply."""
    data = path.read_bytes()
    if how == "flip":
        content = bytearray(data)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(content))
    elif how in ("truncated", "empty", "zeros"):
        path.write_bytes({"truncated": data[: len(data) // 2], "empty": b"", "zeros": b"\0" * len(data)}[how])
    elif how == "missing":
        path.unlink()
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    elif how == "a pipe":
        path.unlink()
        os.mkfifo(path)
    elif how in ("a link to itself", "a link to nothing"):
        path.unlink()
        path.symlink_to(path.name if how == "a link to itself" else "nothing")
    elif how == "noise":
        path.write_bytes(rng.randbytes(len(data)))
    elif how == "nested":
        if path.suffix != ".json":
            return False
        path.write_text("[" * 100_000)
    else:  # of another run
        pattern = kind.replace("refl@", "base@").partition("/")[2]  # "" of a file that no run has
        others = sorted(path.parents[len(Path(kind).parts) - 2].glob(pattern)) if pattern else []
        if kind == KINDS["picture"] or not others or others[0] == path:
            others = sorted(path.parent.glob("1.png"))
        if not others:
            return False
        path.write_bytes(others[0].read_bytes())
    return True


DAMAGES = (
    "truncated", "empty", "zeros", "noise", "missing", "a folder", "a pipe", "a link to itself", "a link to nothing",
    "nested", "of another run",
)  # fmt: skip


def damage(world: World, kind: str, how: str, rng: random.Random) -> Trial | None:
    """One file is damaged: `check` must tell or be the same, `run` must end with the same numbers."""
    folder = world.fresh()
    path = sorted(folder.glob(KINDS[kind]))[0]
    if not spoil(path, how, KINDS[kind], rng):
        return None
    done = lab.call(folder, *CHECK)
    told = any(not SAYS_NOTHING.fullmatch(line) for line in done.err.splitlines())
    silent = done.code == 0 and done.out != world.checked and not told
    notes = [] if done.clean else [f"check: {done.code} {done.err[-150:]}"]
    if kind == "baseline":
        shutil.copy(world.whole / "b.json", folder / "b.json") if path.is_file() else None
    if how.startswith("a "):  # what stands in a file's place is the user's: it is removed by hand
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    good, why = world.again()
    why = world.same() if good else why
    why = why or world.later()  # what was made again is told once, and not by every later call
    notes += [why] if why else []
    return outcome(1, silent, bool(notes), "; ".join(notes))


# --- crowds, disk, folders, names


def crowd(world: World, count: int, gap: float) -> Trial:
    """Equal commands at once all end with 0, and with the numbers of one."""
    folder = world.fresh(finished=False)
    pids = []
    for index in range(count):
        pids.append(lab.start(folder, RUN, tag=str(index)))
        time.sleep(gap)
    done = [lab.wait(folder, pid, str(index), 300) for index, pid in enumerate(pids)]
    why = world.same() if all(one.code == 0 for one in done) else str([(one.code, one.err[-150:]) for one in done])
    left = lab.leftovers(folder)
    return outcome(count, False, bool(why or left), f"{why} {left or ''}".strip())


def full_disk(world: World, hook: lab.Hook) -> Trial:
    """The system refuses to write at some moment; then there is room again."""
    folder = world.fresh(finished=False)
    done = lab.call(folder, *RUN, hook=hook)
    # A cache that cannot be written is no error, but said.
    silent = done.code == 0 and (bool(world.same()) or "not cached" not in done.err)
    good, why = world.again()
    why = (world.same() if good else why) or ("" if done.clean else f"{done.code} {done.err[-200:]}")
    left = lab.leftovers(folder)
    return outcome(1, silent, bool(why or left), f"{why} {left or ''}".strip())


def removed(world: World, number: int, what: str) -> Trial:
    """A folder disappears while the command runs: it must not end with 0 and fewer pictures."""
    folder = world.fresh(finished=False)
    done = lab.call(folder, *RUN, hook=lab.remove_at(number, folder / what))
    silent = done.code == 0 and bool(world.same())
    good, why = world.again()
    why = (world.same() if good else why) or ("" if done.clean else f"{done.code} {done.err[-200:]}")
    return outcome(1, silent, bool(why), f"{done.code}: {why}")


def trials(world: World, count: int) -> Iterator[tuple[str, Callable[[], Trial | None]]]:
    """Name (row: number) and work of every trial; `count` of those that are drawn at random, per row."""

    def drawn(name: str, number: int) -> random.Random:
        return random.Random(f"{name} {number}")

    for number in range(count):
        for name, command, most, finished in (
            ("kill of run", RUN, 230, False),
            ("kill of score --images", TAKE, 90, True),
            ("kill of report", REPORT, 60, True),
            ("kill of check --update-baseline", UPDATE, 8, True),
        ):
            rng = drawn(name, number)
            yield f"{name}: {number}", lambda c=command, r=rng, m=most, f=finished: kill(world, c, r, m, f)
        yield f"kill of train: {number}", lambda n=number: kill_training(world, drawn("train", n))
        for kind in KINDS:
            yield f"flipped bit, {kind}: {number}", lambda k=kind, n=number: damage(world, k, "flip", drawn(k, n))
    for how in DAMAGES:
        for kind in KINDS:
            yield f"{how}: {kind}", lambda k=kind, h=how: damage(world, k, h, drawn(k, 0))
    for number, (size, gap) in enumerate([(2, 0.0), (2, 0.7), (4, 0.0), (4, 0.3)]):
        yield f"{size} processes at once: {number}", lambda s=size, g=gap: crowd(world, s, g)
    for size in (600, 1_000, 3_000, 4_500, 8_000, 20_000):
        yield f"disk full: {size}", lambda s=size: full_disk(world, lab.short_of_disk(s))
    for kind, code in (("no inode left", errno.ENOSPC), ("quota used up", errno.EDQUOT)):
        for number in (1, 4, 12, 30, 60, 100):
            yield f"{kind}: at {number}", lambda n=number, c=code: full_disk(world, lab.refused_at(n, c))
    for number in (5, 20, 45, 80, 120, 160, 200):
        for what in ("r", "r/runs", "r/cache"):
            yield f"folder removed: {what} at {number}", lambda n=number, w=what: removed(world, n, w)
    for name in EDITS:
        for fits in (False, True):
            yield (
                f"manifest edited: {name}{' (digest fits)' if fits else ''}",
                lambda n=name, f=fits: edited(world, n, f),
            )
    for name in ODD:
        yield f"odd input: {name}", lambda n=name: odd_input(world, n)
    for name in FOLDERS:
        yield f"hostile name: folder, {name}", lambda n=name: hostile_folder(world, n)
    yield "hostile name: texts", lambda: hostile_text(world)
    rescore = ("score", "refl", "--results", "r")
    commands: list[tuple[str, ...]] = [RUN, (*RUN, "--samples", "3"), REPORT, CHECK, UPDATE, TAKE, rescore, TRAIN]
    for words in commands:
        yield f"read-only: {' '.join(words)[-60:]}", lambda c=words: read_only(world, c)


def page(saved: dict[str, Trial]) -> str:
    """The table of docs/reliability.md."""
    rows: dict[str, list[Trial]] = {}
    for name, trial in saved.items():
        rows.setdefault(name.partition(":")[0], []).append(trial)
    lines = ["| fault | injected | survived | silent | lost |", "|---|---:|---:|---:|---:|"]
    total = [0, 0, 0]
    for name, found in sorted(rows.items()):
        injected, silent, lost = (sum(one[key] for one in found) for key in ("injected", "silent", "lost"))
        total = [total[0] + injected, total[1] + silent, total[2] + lost]
        lines.append(f"| {name} | {injected} | {injected - silent - lost} | {silent} | {lost} |")
    lines.append(f"| all | {total[0]} | {total[0] - total[1] - total[2]} | {total[1]} | {total[2]} |")
    return Path(__file__).with_name("faults_page.md").read_text() + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    lines = given.save.read_text().splitlines() if given.save.exists() else []
    saved = {one["name"]: one for one in map(json.loads, lines)}
    if given.page:
        print(page(saved), end="")
        return
    end = time.monotonic() + given.seconds
    lab.warm()
    with tempfile.TemporaryDirectory() as folder, given.save.open("a") as file:
        world = World(Path(folder) / "world")
        for name, work in trials(world, given.trials):
            if given.only not in name or name in saved or time.monotonic() > end:
                continue
            trial = work()
            if trial is not None:
                print(name, trial, flush=True)
                file.write(json.dumps({"name": name, **trial}) + "\n")
                file.flush()


if __name__ == "__main__":
    main()
