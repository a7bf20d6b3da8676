"""A suite whose images a server makes, as a user runs it: killed while it works, and continued."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from tests.unit.bench.models.images_server import ImagesServer, serving

SUITE = """
name = "served"
prompts = "{prompts}"
samples = 2
resolution = 32

[model]
kind = "endpoint"
weights = "tiny"

[model.endpoint]
url = "{url}"
concurrency = 2
api_key_env = "IMAGES_KEY"

[sampler]
steps = 4

[metrics.lpips]
weights = "shapes:lpips"
"""


@pytest.mark.slow
def test_killed_at_a_unit_and_continued_gives_the_same_values(
    bench_command, tidy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGES_KEY", "sk-secret")
    prompts = tmp_path / "p.txt"
    prompts.write_text("a red circle\na large star\nthree dots\na blue square\n")
    reached, goes_on = threading.Event(), threading.Event()

    def wait_at_the_fifth(body: dict[str, object], before: int) -> None:
        if before == 5:
            reached.set()
            goes_on.wait(60)

    with serving(ImagesServer(key="sk-secret", hook=wait_at_the_fifth)) as server:
        toml = tmp_path / "served.toml"
        toml.write_text(SUITE.format(prompts=prompts, url=server.url))
        run = ["run", "--suite", toml, "--method", "base", "--results"]
        process = bench_command.start(*run, tmp_path / "killed")
        assert reached.wait(120)
        bench_command.kill(process, signal.SIGKILL)
        goes_on.set()
        server.hook = None
        bench_command(*run, tmp_path / "killed")
        bench_command(*run, tmp_path / "whole")
        assert tidy(tmp_path / "killed").equals(tidy(tmp_path / "whole"))
        bench_command("report", "--results", tmp_path / "whole", "--out", tmp_path / "report")
        page = (tmp_path / "report" / "index.html").read_text()
        assert "made by an endpoint, whose scheduler and precision are its own" in page
        refused = bench_command(*run[:-2], "imagerefl", "--set", "weights=tuned", "--set", "switch_step=2", code=2)
        assert "mixes two models within one picture" in refused.stderr
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"sk-secret" not in path.read_bytes()
