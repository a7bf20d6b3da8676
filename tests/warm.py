"""The command `bench` for many calls in a row: one process imports the libraries once and forks for each call.

Most of a short command's time is the import of PyTorch, diffusers and transformers. The server imports those, and
nothing of `bench`; a call has its own arguments, folder, environment and streams, runs `python -m bench` from its first
line, and ends with its own exit code as any interpreter does. Libraries read their variables of the environment when
they are imported: those must be the server's (`Server.takes`).

`python warm.py SOCKET` serves; `python warm.py --ask SOCKET ARGUMENT ...` is one call, for a script on the PATH.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

LIBRARIES = ("torch", "diffusers", "transformers", "pandas", "pyarrow.parquet", "matplotlib.pyplot", "PIL.Image")
PARTS = {
    "diffusers": ("StableDiffusionPipeline", "DDPMScheduler", "UNet2DConditionModel", "AutoencoderKL"),
    "transformers": ("CLIPModel", "CLIPTextModel", "CLIPTokenizer"),
}
"""Both load their parts when these are first named."""
READ_AT_IMPORT = (
    *("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "DIFFUSERS_", "TORCH_", "PYTORCH_", "CUDA_VISIBLE", "MPL"),
    *("OMP_", "MKL_", "KMP_", "OPENBLAS_", "ATEN_", "ONEDNN_", "PYTHON", "LD_", "LANG", "LC_", "TZ"),
    *("HOME", "XDG_", "TMPDIR", "http", "HTTP", "no_proxy", "NO_PROXY"),
)
"""Beginnings of names of variables that Python or a library reads when it starts."""
STREAMS = (0, 1, 2)
LIMIT = 1 << 20  # bytes of a call: arguments and environment


def without_waiting(descriptor: int) -> None:
    """`os.fsync` in the tests: no power cut befalls their folders, and the disk takes a sixth of some tests' time."""


class Server:
    """A server process of the checkout `root`, started when it is first needed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}
        self._folder = ""

    @property
    def path(self) -> str:
        """The server's socket."""
        return f"{self._folder}/socket"

    def takes(self, environment: Mapping[str, str]) -> bool:
        """Whether libraries read the same in this environment as in the server's, which the first call decides."""
        if not hasattr(os, "fork"):
            return False
        if self._process is None:
            self.start(environment)
        return _of_libraries(environment) == _of_libraries(self._environment)

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it, and wait until it answers."""
        self._environment = dict(environment)
        self._folder = tempfile.mkdtemp()  # a short path: those of sockets are limited
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, self.path],
            cwd=self._root,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        while not os.path.exists(self.path):
            assert self._process.poll() is None, "the server of warm commands did not start"
            time.sleep(0.05)

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        timeout: float,
        code: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run([python, "-m", "bench", *arguments], capture_output=True)`, or `[python, "-c", code]`.

        Raises TimeoutExpired.
        """
        with contextlib.ExitStack() as stack:
            empty = stack.enter_context(open(os.devnull, "rb"))
            out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            call = {"arguments": [*arguments], "folder": str(folder), "environment": dict(environment), "code": code}
            pid, ended = _ask(self.path, call, [empty.fileno(), out.fileno(), err.fileno()], timeout)
            if ended is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(["bench", *arguments], timeout)
            said = []
            for file in (out, err):
                file.seek(0)
                said.append(file.read().decode())
        return subprocess.CompletedProcess(["bench", *arguments], ended, *said)

    def command_in(self, folder: Path) -> Path:
        """Write the command `bench` into a folder, for the PATH of a shell; its calls go to this server."""
        folder.mkdir(parents=True)
        client = shlex.join([sys.executable, "-S", "-E", __file__, "--ask", self.path])
        script = folder / "bench"
        script.write_text(f'#!/bin/sh\nexec {client} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        return folder

    def close(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            os.rmdir(self._folder)


def _of_libraries(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_IMPORT)}


def _ask(path: str, call: dict[str, Any], streams: Sequence[int], timeout: float | None) -> tuple[int, int | None]:
    """The call's process, and its exit code; None where the time was over before."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        socket.send_fds(server, [json.dumps(call).encode()], streams)
        server.shutdown(socket.SHUT_WR)
        with server.makefile("r", encoding="ascii") as answers:
            pid = int(answers.readline())
            server.settimeout(timeout)
            try:
                return pid, int(answers.readline())
            except TimeoutError:
                return pid, None


def serve(path: str) -> None:
    """Answer calls, one after the other, until the process is ended."""
    for name in LIBRARIES:
        module = importlib.import_module(name)
        for part in PARTS.get(name, ()):
            getattr(module, part)
    os.fsync = without_waiting
    gc.collect()
    gc.freeze()  # what was imported is nobody's garbage: neither a child nor its end looks through it
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{path}.new")
        listening.listen()
        os.rename(f"{path}.new", path)  # who sees it can connect
        while True:
            connection, _ = listening.accept()
            with connection:
                data, streams, _, _ = socket.recv_fds(connection, LIMIT, len(STREAMS))
                while more := connection.recv(LIMIT):
                    data += more
                pid = os.fork()
                if not pid:
                    listening.close()
                    connection.close()
                    _end(_command(json.loads(data), streams))
                for stream in streams:
                    os.close(stream)
                with contextlib.suppress(BrokenPipeError):  # whoever asked was ended meanwhile
                    connection.sendall(f"{pid}\n".encode())
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    connection.sendall(f"{code}\n".encode())


def _end(code: int) -> NoReturn:
    """End as an interpreter does, but for taking its modules apart: libraries would report what is frozen as leaks."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _command(call: dict[str, Any], streams: Sequence[int]) -> int:
    """One call of the command, in a process of its own. Returns its exit code."""
    os.setsid()
    for stream, own in zip(streams, STREAMS, strict=True):
        os.dup2(stream, own)
        os.close(stream)
    os.environ.clear()
    os.environ.update(call["environment"])
    os.chdir(call["folder"])
    sys.argv = ["bench", *call["arguments"]]
    sys.path.insert(0, call["folder"])  # as `python -m` has it
    try:
        if call.get("code") is None:
            runpy.run_module("bench", run_name="__main__", alter_sys=True)
        else:
            sys.modules["__main__"] = main = types.ModuleType("__main__")
            exec(compile(call["code"], "<string>", "exec"), main.__dict__)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--ask":
        asked = {"arguments": sys.argv[3:], "folder": os.getcwd(), "environment": dict(os.environ)}
        ended = _ask(sys.argv[2], asked, STREAMS, None)[1]
        sys.exit(70 if ended is None else ended % 256)
    serve(sys.argv[1])
