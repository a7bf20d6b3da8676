"""The command `bench` for many calls in a row: one process imports the libraries once and forks for each call.

Each call has its own arguments, folder, environment and streams, and ends with its own exit code, as if it had been
started anew; what it does not pay is the seconds of processor time that importing takes. `python warm.py SOCKET`
serves; `command_on_path` starts that and makes the script that calls it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

STREAMS = (0, 1, 2)
LIMIT = 1 << 20  # bytes of a call: arguments and environment


def serve(path: str) -> None:
    """Answer calls, one after the other, until the process is ended."""
    import diffusers  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import pandas as pd  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        while True:
            call, _ = listening.accept()
            with call:
                data, streams, _, _ = socket.recv_fds(call, LIMIT, len(STREAMS))
                child = os.fork()
                if not child:
                    _run(json.loads(data), streams)
                for stream in streams:
                    os.close(stream)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256
                with contextlib.suppress(BrokenPipeError):  # whoever asked was ended meanwhile
                    call.sendall(bytes([code]))


def _run(call: dict[str, Any], streams: Sequence[int]) -> None:
    """The forked process: one call of the command, and its end."""
    code = 70
    try:
        for stream, own in zip(streams, STREAMS, strict=True):
            os.dup2(stream, own)
        os.chdir(call["folder"])
        os.environ.clear()
        os.environ.update(call["environment"])
        sys.argv = ["bench", *call["arguments"]]
        from bench.cli import main

        code = main(call["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ask(path: str, arguments: list[str]) -> int:
    """Let the server run the command with these arguments and this process's folder, environment and streams."""
    call = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        socket.send_fds(server, [json.dumps(call).encode()], STREAMS)
        answer = server.recv(1)
    return answer[0] if answer else 70


@contextlib.contextmanager
def command_on_path(folder: Path, root: Path) -> Iterator[Path]:
    """A folder with the command `bench` of the checkout `root`, as long as the context lasts."""
    folder.mkdir(parents=True)
    path = folder / "socket"
    client = shlex.join([sys.executable, "-S", "-E", str(Path(__file__)), "--ask", str(path)])
    script = folder / "bench"
    script.write_text(f'#!/bin/sh\nexec {client} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    server = subprocess.Popen([sys.executable, "-P", __file__, str(path)], env=environment)
    try:
        while not path.exists():
            assert server.poll() is None, "the server of warm commands did not start"
            time.sleep(0.1)
        yield folder
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    if sys.argv[1] == "--ask":
        sys.exit(ask(sys.argv[2], sys.argv[3:]))
    serve(sys.argv[1])
