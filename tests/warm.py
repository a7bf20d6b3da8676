"""Commands of `bench` in processes of their own that need not import the heavy libraries again.

Most of a short command's time is the import of PyTorch, diffusers and transformers. A server process imports those,
none of `bench`, and forks for each command; the child has its own folder, environment, output and exit code, runs
`python -m bench` from its first line, and ends as any interpreter does. Only variables that the command itself reads
may differ from the server's: libraries read theirs when they are imported.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

LIBRARIES = ("torch", "diffusers", "transformers", "pandas", "pyarrow.parquet", "scipy.stats", "PIL.Image")
"""What the server imports; `transformers` and `diffusers` load their parts when these are first named."""
PARTS = {
    "diffusers": ("StableDiffusionPipeline", "DDPMScheduler", "UNet2DConditionModel", "AutoencoderKL"),
    "transformers": ("CLIPModel", "CLIPTextModel", "CLIPTokenizer"),
}
OWN_VARIABLES = ("BENCH_", "COLUMNS", "LINES", "NO_COLOR", "PYTEST_CURRENT_TEST")
"""Beginnings of names of variables that may differ from the server's."""


class Server:
    """One server process, started when it is first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}

    def takes(self, environment: dict[str, str]) -> bool:
        """Whether a command with this environment may be forked: libraries would read the same."""
        if not hasattr(os, "fork"):
            return False
        if self._process is None:
            self._start(environment)
        return _of_libraries(environment) == _of_libraries(self._environment)

    def _start(self, environment: dict[str, str]) -> None:
        self._environment = dict(environment)
        mine, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(its.fileno())],
                cwd=Path(__file__).parents[1],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
            )
        self._socket = mine
        self._lines = mine.makefile("r", encoding="utf-8")

    def run(
        self, arguments: list[str], cwd: Path, environment: dict[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run([python, "-m", "bench", *arguments], capture_output=True)`. Raises TimeoutExpired."""
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            request = {"arguments": arguments, "cwd": str(cwd), "environment": environment}
            self._socket.sendall((json.dumps({**request, "out": str(out), "err": str(err)}) + "\n").encode())
            pid = int(self._lines.readline())
            self._socket.settimeout(timeout)
            try:
                code = int(self._lines.readline())
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                self.close()
                raise subprocess.TimeoutExpired(["bench", *arguments], timeout) from None
            finally:
                self._socket.settimeout(None)
            read = [path.read_text(encoding="utf-8") for path in (out, err)]
        return subprocess.CompletedProcess(["bench", *arguments], code, *read)

    def close(self) -> None:
        """End the server: it reads the end of its requests."""
        if self._process is not None:
            self._lines.close()
            self._socket.close()
            self._process.wait(timeout=60)
            self._process = None


def _of_libraries(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(OWN_VARIABLES)}


def serve(descriptor: int) -> int:
    """Fork for each request, until there are no more. In a child: the command's exit code."""
    del sys.path[0]  # the folder of this file
    for name in LIBRARIES:
        module = importlib.import_module(name)
        for part in PARTS.get(name, ()):
            getattr(module, part)
    with socket.socket(fileno=descriptor) as connection, connection.makefile("r", encoding="utf-8") as requests:
        while line := requests.readline():
            request = json.loads(line)
            pid = os.fork()
            if pid == 0:
                return _command(request)
            connection.sendall(f"{pid}\n".encode())
            _, status = os.waitpid(pid, 0)
            connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    return 0


def _command(request: dict[str, object]) -> int:
    os.setsid()
    for descriptor, path in ((1, request["out"]), (2, request["err"])):
        file = os.open(str(path), os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    environment = request["environment"]
    assert isinstance(environment, dict)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(str(request["cwd"]))
    arguments = request["arguments"]
    assert isinstance(arguments, list)
    sys.argv = ["bench", *arguments]
    sys.path.insert(0, str(request["cwd"]))  # as `python -m` has it
    try:
        runpy.run_module("bench", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1])))
