"""A run in an object store, killed while it works and continued on another machine, and read by each command."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from bench.store.object_store import ObjectStore
from tests.e2e.test_endpoint import SUITE
from tests.unit.bench.models.images_server import ImagesServer, serving

pytest_plugins = ["tests.unit.bench.store.object_stores"]


@pytest.mark.slow
def test_killed_and_continued_elsewhere(
    bench_command, tidy, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGES_KEY", "sk-secret")
    prompts = tmp_path / "p.txt"
    prompts.write_text("a red circle\na large star\nthree dots\na blue square\n")
    goes_on = threading.Event()

    def wait_at_the_fifth(body: dict[str, object], before: int) -> None:
        if before >= 5:
            goes_on.wait(90)

    with serving(ImagesServer(key="sk-secret", hook=wait_at_the_fifth)) as images:
        toml = tmp_path / "served.toml"
        toml.write_text(SUITE.format(prompts=prompts, url=images.url))
        run = ["run", "--suite", toml, "--method", "base", "--results"]
        process = bench_command.start(*run, bucket)
        store, until = ObjectStore(bucket), time.monotonic() + 80
        while not (there := [name for name in store.sizes() if name.endswith(".png")]) and time.monotonic() < until:
            time.sleep(0.5)
        bench_command.kill(process, signal.SIGKILL)
        assert there
        assert process.returncode == -signal.SIGKILL
        goes_on.set()
        images.hook = None
        shutil.rmtree(tmp_path / "working")  # another machine
        bench_command(*run, bucket)
        bench_command(*run, tmp_path / "local")
    assert tidy(bucket).equals(tidy(tmp_path / "local"))
    assert "base" in bench_command("list", "runs", "--results", bucket).stdout
    assert "pass --out DIR" in bench_command("report", "--results", bucket, code=2).stderr
    bench_command("report", "--results", bucket, "--out", tmp_path / "report")
    assert (tmp_path / "report" / "index.html").is_file()
    assert "is an object store" in bench_command("doctor", "--results", bucket, code=2).stderr
    bench_command("rm", "base", "--results", bucket)
    assert store.sizes() == {}
