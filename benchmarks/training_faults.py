"""A training that is killed, begun twice at once, or finds its state damaged: what is left, against one undisturbed.

    python benchmarks/training_faults.py [--kills 20] [--pairs 3] [--flips 30] [--seed 0]

`bench train imagerefl` on the embedded suite: all weights, an average of them, one state a checkpoint. It is killed
(SIGKILL) at random times from its start on and called again until it ends; every checkpoint and the log must be those
of a training that nothing happened to, byte for byte. Two processes are begun into one --out: one is refused with a
sentence, and the checkpoint is right. Bits of state.pt are flipped (the half anywhere, the half in its first and last
4,096 bytes), and it is cut: each must be refused. About ten minutes of one core. Exit code 1 where anything is not as
it must be.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.cli.app import execute

STEPS = 16
SMALL = ("batch_size=1", "start_step=5", "grad_steps=6-7", "probe_prompts=1", "probe_samples=2", "ema=0.9")
REFUSED = "another process is training into"


def command(out: Path) -> list[str]:
    """The training, without the program."""
    arguments = ["train", "imagerefl", "--out", str(out), "--device", "cpu", "--steps", str(STEPS)]
    return [*arguments, *(part for one in (*SMALL, "save_every=2") for part in ("--set", one))]


def start(out: Path) -> subprocess.Popen[str]:
    """Begin it in a process of its own."""
    program = [sys.executable, "-m", "bench", *command(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def log_folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.log")


def made(out: Path) -> dict[str, bytes | list[dict[str, str]]]:
    """The weights of every checkpoint, and the log without its seconds."""
    found: dict[str, bytes | list[dict[str, str]]] = {
        path.parent.name.removeprefix(out.name): path.read_bytes()
        for path in sorted(out.parent.glob(f"{out.name}*/diffusion_pytorch_model.safetensors"))
    }
    rows = csv.DictReader((log_folder(out) / "log.csv").read_text().splitlines())
    return {**found, "log": [{**row, "seconds": ""} for row in rows]}


def undisturbed(out: Path) -> tuple[float, float]:
    """Train; returns the seconds before the first update and those of an update."""
    began, first = time.monotonic(), 0.0
    process = start(out)
    while process.poll() is None:
        table = log_folder(out) / "log.csv"
        if not first and table.is_file() and table.read_text().count("\n") > 1:
            first = time.monotonic() - began
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(process.communicate()[1])
    return first, (time.monotonic() - began - first) / (STEPS - 1)


def kill_often(out: Path, kills: int, times: tuple[float, float], randomness: random.Random) -> tuple[int, list[str]]:
    """Kill `kills` times at random and go on each time; returns how many met a training, and what else was said."""
    startup, update = times
    met, strange = 0, []
    for _ in range(kills):
        process = start(out)
        # Most in the updates; some while it loads, reads its state or has hardly begun.
        early = randomness.random() < 0.25
        wait = randomness.uniform(0, startup) if early else startup * 0.9 + randomness.expovariate(1 / (2 * update))
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            met += 1
            process.send_signal(signal.SIGKILL)
        stderr = process.communicate()[1]
        if process.returncode not in (0, -signal.SIGKILL):
            strange.append(stderr.strip().splitlines()[-1])
    return met, strange


def finish(out: Path) -> str:
    """Call it until it ends by itself; returns what it said."""
    process = start(out)
    stderr = process.communicate()[1]
    return stderr if process.returncode else ""


def two_at_once(out: Path) -> list[tuple[int, str]]:
    """Exit codes and last lines of two processes that begin together."""
    both = [start(out), start(out)]
    return [
        ((said := process.communicate()[1]), (process.returncode, said.strip().splitlines()[-1]))[1] for process in both
    ]


def refused(out: Path) -> bool:
    """Whether the training into `out` is refused with a sentence about its state."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = execute(command(out))
    return code == 2 and "state.pt" in said.getvalue() and "Traceback" not in said.getvalue()


def damaged(state: Path, number: int, randomness: random.Random) -> list[tuple[str, bytes]]:
    """Contents of a state with one bit flipped, `number` of them, and of states that were cut."""
    whole = state.read_bytes()
    found, edges = [], [*range(4096), *range(len(whole) - 4096, len(whole))]
    for index in range(number):
        place, bit = (
            randomness.choice(edges) if index % 2 else randomness.randrange(len(whole)),
            randomness.randrange(8),
        )
        content = bytearray(whole)
        content[place] ^= 1 << bit
        found.append((f"bit {bit} of byte {place:,}", bytes(content)))
    return found + [(f"cut to {size:,} bytes", whole[:size]) for size in (0, 1, len(whole) // 2, len(whole) - 1)]


def stopped(out: Path) -> Path:
    """Begin a training into `out` and kill it when it has a state; returns the state."""
    state = log_folder(out) / "state.pt"
    process = start(out)
    while not state.is_file() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return state


def main() -> int:
    """Do it all, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--flips", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    randomness, right = random.Random(given.seed), True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        times = undisturbed(folder / "whole")
        expected = made(folder / "whole")
        print(f"undisturbed: {times[0]:.1f} s to the first update, {times[1]:.2f} s an update, {STEPS} updates")
        kills, trainings, strange = 0, 0, []
        while kills < given.kills:
            out = folder / f"killed{trainings}"
            met, said = kill_often(out, given.kills - kills, times, randomness)
            strange += [*said, *filter(None, [finish(out)])]
            right &= made(out) == {**expected} and not list(folder.rglob("*.tmp"))
            kills, trainings = kills + met, trainings + 1
            shutil.rmtree(log_folder(out))
        right &= not strange
        print(f"{kills} kills in {trainings} trainings, each as undisturbed: {right}; errors: {strange or 'none'}")
        for pair in range(given.pairs):
            out = folder / f"twice{pair}"
            answers = sorted(two_at_once(out))
            codes = [code for code, _ in answers]
            right &= made(out) == expected and (codes == [0, 0] or (codes == [0, 2] and REFUSED in answers[1][1]))
            print(f"two at once: exit codes {codes}, {answers[1][1]!r}; as undisturbed: {made(out) == expected}")
        out = folder / "flipped"
        state = stopped(out)
        whole = state.read_bytes()
        accepted = []
        for what, content in damaged(state, given.flips, randomness):
            state.write_bytes(content)
            accepted += [] if refused(out) else [what]
        state.write_bytes(whole)
        right &= not accepted and not finish(out) and made(out) == expected
        print(f"{given.flips} flipped bits and 4 cuts of {len(whole):,} bytes: accepted {accepted or 'none'}")
        print(f"with the state restored it ends as undisturbed: {made(out) == expected}")
    print("all as it must be" if right else "NOT all as it must be")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
