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
import json
import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fault_lab as lab

RUN = ("run", "--suite", "s.toml", "--method", "base,refl", "--device", "cpu", "--results", "r")
TRAIN = ("train", "refl", "--suite", "s.toml", "--steps", "3", "--batch-size", "1", "--device", "cpu", "--out", "t/m",
         "--reward", "pickscore", "--set", "grad_steps=1", "--set", "save_every=1")  # fmt: skip
CHECK = ("check", "r", "--thresholds", "l.toml", "--baseline", "b.json")
UPDATE = ("check", "r", "--thresholds", "l.toml", "--baseline", "b.json", "--update-baseline", "--accept")
REPORT = ("report", "--results", "r", "--out", "p", "--gallery", "1")
TAKE = ("score", "--images", "mine", "--suite", "s.toml", "--prompts", "shapes", "--name", "mine", "--results", "r")
SAYS_NOTHING = re.compile(
    r"(nothing to do.*|generate: .*|score: .*|torch uses .*|.*(biased upwards|compare only).*|)\n?"
)
Trial = dict[str, Any]


class World:
    """A folder with a finished job, which each trial gets a copy of."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.whole, self.work = folder, folder / "whole", folder / "work"
        self.whole.mkdir(parents=True)
        (self.whole / "s.toml").write_text(lab.SUITE)
        (self.whole / "l.toml").write_text(lab.LIMITS)
        for command in (RUN, UPDATE):
            done = lab.call(self.whole, *command)
            assert done.code == 0, done
        [base] = (self.whole / "r/runs/faults").glob("base@*")
        shutil.copytree(base / "images", self.whole / "mine", ignore=shutil.ignore_patterns("*.parquet"))
        self.numbers = lab.numbers(self.whole / "r")
        self.checked = lab.call(self.whole, *CHECK).out

    def fresh(self, finished: bool = True) -> Path:
        """A copy of the finished job, or of its inputs."""
        shutil.rmtree(self.work, ignore_errors=True)
        ignored = () if finished else ("r", "b.json")
        shutil.copytree(self.whole, self.work, symlinks=True, ignore=shutil.ignore_patterns(*ignored))
        return self.work

    def run_of(self, method: str) -> Path:
        [found] = (self.work / "r/runs/faults").glob(f"{method}@*")
        return found

    def again(self, command: tuple[str, ...] = RUN) -> tuple[bool, str]:
        """Whether the command, run again, ends with the very same numbers; what a refusal says is followed."""
        done = lab.call(self.work, *command)
        for _ in range(3):
            named = re.findall(r"r/runs/\S+?\.json(?!l)", done.err)
            if done.code == 0 or not named or "delete" not in done.err:
                break
            for path in (self.work / named[-1], self.work / f"{named[-1]}.sha256"):
                path.unlink(missing_ok=True)
            done = lab.call(self.work, *command)
        if done.code != 0:
            return False, f"again: {done.code} {done.err[-200:]}"
        return True, ""

    def same(self) -> str:
        """Why the numbers are others; "" where they are the same."""
        found = lab.numbers(self.work / "r")
        found = {key: value for key, value in found.items() if key in self.numbers}
        if found.keys() != self.numbers.keys():
            return f"runs {sorted(found)}"
        parts = ("manifest", "scores", "pictures", "summary")
        differ = [f"{key}: {parts[i]}" for key in found for i in range(4) if found[key][i] != self.numbers[key][i]]
        return ", ".join(differ)


def outcome(injected: int, silent: bool, lost: bool, note: str) -> Trial:
    return {"injected": injected, "silent": int(silent), "lost": int(lost), "note": note[:300]}


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
    if path.is_dir() or how == "a pipe":  # what stands in a file's place is the user's: it is removed by hand
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    good, why = world.again()
    why = world.same() if good else why
    if not why:  # what was made again is told once, and not by every later call
        said = lab.call(folder, *RUN).err
        why = "" if said == "nothing to do: all images and scores exist\n" else f"later: {said[-200:]}"
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


def full_disk(world: World, size: int) -> Trial:
    """No file may grow beyond `size` bytes; then there is room again."""
    folder = world.fresh(finished=False)
    done = lab.call(folder, *RUN, hook=lab.short_of_disk(size))
    good, why = world.again()
    why = (world.same() if good else why) or ("" if done.clean and done.code else f"{done.code} {done.err[-200:]}")
    left = lab.leftovers(folder)
    return outcome(1, done.code == 0, bool(why or left), f"{why} {left or ''}".strip())


def removed(world: World, number: int, what: str) -> Trial:
    """A folder disappears while the command runs: it must not end with 0 and fewer pictures."""
    folder = world.fresh(finished=False)
    done = lab.call(folder, *RUN, hook=lab.remove_at(number, folder / what))
    silent = done.code == 0 and bool(world.same())
    good, why = world.again()
    why = (world.same() if good else why) or ("" if done.clean else f"{done.code} {done.err[-200:]}")
    return outcome(1, silent, bool(why), f"{done.code}: {why}")


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "suite ../../x": lambda m: m.update(suite="../../x"),
    "suite of another": lambda m: m.update(suite="other"),
    "samples as text": lambda m: m.update(samples="2"),
    "samples 1e9": lambda m: m.update(samples=10**9),
    "unknown key": lambda m: m.update(added=1),
    "run of another": lambda m: m.update(run="base@00000000"),
    "seed changed": lambda m: m["identity"].update(seed=12),
    "status finished": lambda m: m.update(status="finished"),
    "prompts a path": lambda m: m.update(prompts={"file": "../../../../l.toml", "count": 3}),
    "no identity": lambda m: m.pop("identity"),
    "method a list": lambda m: m.update(method=["refl"]),
    "counts negative": lambda m: m.update(counts={"images": -3}),
    "suite key of another version": lambda m: m["resolved_suite"].update(flavour="new"),
}


def edited(world: World, name: str, protected: bool) -> Trial:
    """An edited manifest, with a digest that fits or without one: refused in a sentence, nothing outside of --out."""
    from bench.store.digests import write_protected

    folder = world.fresh()
    path = world.run_of("refl") / "manifest.json"
    data = json.loads(path.read_text())
    EDITS[name](data)
    if protected:
        write_protected(path, json.dumps(data))
    else:
        path.write_text(json.dumps(data))
    before = {one for one in world.folder.rglob("*") if "work/p" not in str(one)}
    done = [lab.call(folder, *command) for command in (REPORT, CHECK, ("score", f"r/runs/faults/{path.parent.name}"))]
    outside = {one for one in world.folder.rglob("*") if "work/p" not in str(one)} - before
    strange = [str(one) for one in outside if "/r/" not in str(one) and ".said" not in one.name]
    bad = [f"{one.code} {one.err[-150:]}" for one in done if not one.clean]
    refused = any(one.code == 2 for one in done)
    return outcome(1, not refused, bool(bad or strange), "; ".join([*bad, *strange]))


def odd_input(world: World, name: str) -> Trial:
    """Inputs that must be refused in a sentence, before any work and without waiting."""
    folder = world.fresh()
    picture = next((folder / "mine").glob("*/0.png"))
    command: tuple[Any, ...] = TAKE
    if name == "a pipe as an image":
        picture.unlink()
        os.mkfifo(picture)
    elif name == "a folder as an image":
        picture.unlink()
        picture.mkdir()
    elif name == "a sample of 20 digits":
        picture.rename(picture.with_name("9" * 20 + ".png"))
    elif name == "a pipe as prompts":
        os.mkfifo(folder / "q.jsonl")
        command = (*RUN, "--prompts", "q.jsonl")
    elif name == "nested prompts":
        (folder / "q.jsonl").write_text('{"id": "a", "text": "t", "tags": ' + "[" * 200_000)
        command = (*RUN, "--prompts", "q.jsonl")
    elif name == "half a character":
        (folder / "q.jsonl").write_text('{"id": "a", "text": "x \\ud800 y"}\n')
        command = (*RUN, "--prompts", "q.jsonl")
    else:
        command = (*RUN, "--samples", "1000000000")
    done = lab.call(folder, *command)
    wrong = not done.clean or done.code != 2
    return outcome(1, done.code == 0, wrong, f"{done.code} {done.err[-200:]}" if wrong else "")


ODD = (
    "a pipe as an image", "a folder as an image", "a sample of 20 digits", "a pipe as prompts", "nested prompts",
    "half a character", "a billion samples",
)  # fmt: skip


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
    for how in ("truncated", "empty", "zeros", "missing", "a folder", "a pipe", "nested", "of another run"):
        for kind in KINDS:
            yield f"{how}: {kind}", lambda k=kind, h=how: damage(world, k, h, drawn(k, 0))
    for number, (size, gap) in enumerate([(2, 0.0), (2, 0.7), (4, 0.0), (4, 0.3)]):
        yield f"{size} processes at once: {number}", lambda s=size, g=gap: crowd(world, s, g)
    for size in (100, 1_000, 3_000, 4_500, 8_000, 20_000):
        yield f"disk full: {size}", lambda s=size: full_disk(world, s)
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
