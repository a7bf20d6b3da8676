"""What a `bench run` and a `bench score` with nothing to do read and take, with a scorer of some size.

    python benchmarks/no_op.py [--gib N]

A run of four images is made and scored in a folder of its own, with one scorer whose weights' folder is filled up to N
GiB (default 1; the published scorers together are 11) by a file that belongs to them and is never loaded. Each command
is then called again with the digests of weights remembered, as always, and with BENCH_DIGEST_CACHE=off, which hashes
every file as each call did before they were remembered. Bytes are those that the process asked for (`rchar`, Linux).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.models.weights import resolve

ROUNDS = 3
SUITE = """
name = "noop"
prompts = "shapes"
samples = 2
limit = 2
resolution = 64
[model]
weights = "shapes:pipeline"
[sampler]
steps = 2
[metrics.pickscore]
weights = "{weights}"
"""
CODE = """
import sys
from bench.cli import main
code = main(sys.argv[1:])
with open("/proc/self/io") as counts:
    print(next(counts).split()[1], "torch" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


def call(arguments: list[str], folder: Path, remembered: bool) -> tuple[int, float, str]:
    """Bytes read, seconds, and whether torch was loaded, of one command."""
    cache = str(folder / "digests") if remembered else "off"
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        cwd=folder,
        env=os.environ | {"BENCH_DIGEST_CACHE": cache},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    read, torch = done.stderr.split()[-2:]
    return int(read), seconds, torch


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=1.0)
    given = parser.parse_args()
    if sys.platform != "linux":
        raise SystemExit("skipped: the bytes that a process reads are counted on Linux")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = shutil.copytree(resolve("shapes:pickscore"), folder / "scorer")
        with (weights / "spare.bin").open("wb") as stream:
            stream.truncate(int(given.gib * 2**30))
        (folder / "suite.toml").write_text(SUITE.format(weights=weights), encoding="utf-8")
        run = ["run", "--suite", "suite.toml", "--method", "base", "--device", "cpu"]
        call(run, folder, True)
        time.sleep(2.5)  # files that are younger are not remembered
        commands = {"bench run": run, "bench score": ["score", "base", "--device", "cpu"]}
        print("| nothing to do | digests of weights | GiB read | seconds, median | torch loaded |")
        print("| --- | --- | ---: | ---: | --- |")
        for title, arguments in commands.items():
            for remembered in (False, True):
                call(arguments, folder, remembered)
                found = [call(arguments, folder, remembered) for _ in range(ROUNDS)]
                read, seconds = found[0][0] / 2**30, statistics.median(one[1] for one in found)
                how = "remembered" if remembered else "computed"
                print(f"| {title} | {how} | {read:.2f} | {seconds:.1f} | {'yes' if found[0][2] == 'True' else 'no'} |")


if __name__ == "__main__":
    main()
