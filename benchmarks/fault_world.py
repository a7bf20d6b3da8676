"""A finished job, of which each trial of `benchmarks/faults.py` gets a copy, and what a trial comes to."""

from __future__ import annotations

import re
import shutil
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
QUIET = "nothing to do: all images and scores exist\n"
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
            if done.code == 0 or not self.followed(done.err):
                break
            done = lab.call(self.work, *command)
        if done.code != 0:
            return False, f"again: {done.code} {done.err[-200:]}"
        return True, ""

    def followed(self, said: str) -> bool:
        """Whether a sentence names a file to delete; it is deleted then."""
        named = re.findall(r"r/runs/\S+?\.json(?!l)", said)
        if not named or "delete" not in said:
            return False
        for path in (self.work / named[-1], self.work / f"{named[-1]}.sha256"):
            path.unlink(missing_ok=True)
        return True

    def later(self) -> str:
        """Why later calls are not silent about what was mended, or give other numbers; "" where all is well."""
        for _ in range(3):
            said = lab.call(self.work, *RUN).err
            if not self.followed(said):
                break
            lab.call(self.work, *RUN)
        return self.same() or ("" if said == QUIET else f"later: {said[-200:]}")

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
