"""The comparison itself: what counts as equal, what the user hears when the originals cannot run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.doctor import examine as doctor
from bench.doctor.parity import compare, environment, fixtures, page
from bench.doctor.parity.compare import Outcome, Row
from bench.doctor.parity.fixtures import Fixture
from bench.doctor.parity.tensors import Draw
from bench.errors import MissingError, UsageError
from metrics import BadInputError

COUNT = 30


def small(heights: Sequence[int] = (64,) * COUNT) -> Fixture:
    """A listing of `COUNT` images with four prompts each, of which no file exists."""
    images = tuple(f"images/{index:02d}-64x{height}-RGB.png" for index, height in enumerate(heights))
    pairs = tuple((image, prompt) for image in range(len(images)) for prompt in range(4))
    return Fixture(1, "digest", images, ("RGB",) * len(images), ("a", "b", "c", "d"), pairs, (), ())


def official(count: int = 4 * COUNT) -> list[Any]:
    return [index / 10 + 0.1 for index in range(count)]


def test_equal_values() -> None:
    row = compare.compare("image_reward", small(), official(), [value + 1e-6 for value in official()])
    assert row.verdict == "equal"
    assert row.pairs == 4 * COUNT
    assert row.largest == pytest.approx(1e-6)
    assert row.relative == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        ({7: 0.8001}, "1 of 120 values differ by more than 1e-05"),
        ({7: float("nan")}, "1 of 120 values differ"),
        ({7: {"raises": "no"}}, "01-64x64-RGB is refused, the original gives 0.8"),
    ],
)
def test_what_is_not_equal(change: dict[int, Any], clause: str) -> None:
    ours = official()
    for index, value in change.items():
        ours[index] = value
    row = compare.compare("image_reward", small(), official(), ours)
    assert row.verdict == "differs"
    assert clause in row.wrong[0]


def test_few_pairs_and_constant_values_prove_nothing() -> None:
    refusing: list[Any] = [{"raises": "ValueError: no"}] * 40 + official(80)
    assert "only 80 pairs" in compare.compare("hpsv2", small(), refusing, refusing).wrong[0]
    same = [0.25] * 4 * COUNT
    assert "shows nothing" in compare.compare("hpsv2", small(), same, same).wrong[0]


def test_values_without_a_meaning_are_not_compared() -> None:
    fixture = small([64] * (COUNT - 2) + [1, 3])
    ours = official()
    ours[-1] = ours[-8] = 1e3
    row = compare.compare("clip_score", fixture, official(), ours)
    assert row.verdict == "equal"
    assert list(row.without) == ["28-64x1-RGB", "29-64x3-RGB"]


def outcome(*wrong: str) -> Outcome:
    without = {"37-100x80-I16": "ValueError: image has wrong mode"}
    row = Row("image_reward", 120, 1e-6, 1e-5, 0.4, 1e-5, without, wrong)
    return Outcome((row,), {"python": "3.11.7", "image-reward": "1.5"}, "abc")


def test_page_and_exit_code() -> None:
    written = page.page(outcome())
    assert "| image_reward | 120 | 1.0e-06 | 1.0e-05 | 4.0e-01 | 1.0e-05 | equal |" in written
    assert "| image_reward | 37-100x80-I16 | ValueError: image has wrong mode | refused: 16 bits |" in written
    assert "image-reward 1.5" in written
    assert outcome().exit_code == 0
    bad = outcome("3 of 120 values differ")
    assert bad.exit_code == 1
    assert "Not equal to the original: image_reward (3 of 120 values differ)." in page.page(bad)


def test_recorded_values_are_json_and_round_trip() -> None:
    content = {"fixture": "abc", "seed": 1, "versions": {"torch": "2"}, "values": {"hpsv2": [0.25, {"raises": "x"}]}}
    read = json.loads(page.recorded(content))
    assert {key: read[key] for key in content} == content


def test_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def verify(python: str | None, cache: Path | None) -> tuple[Outcome, dict[str, Any]]:
        asked.append((python, cache))
        return outcome("all differ"), {"fixture": "abc", "seed": 1, "versions": {}, "values": {}}

    monkeypatch.setattr(compare, "verify", verify)
    out, values = tmp_path / "parity.md", tmp_path / "values.json"
    arguments = ["doctor", "--verify-metrics", "--official", "/x", "--out", str(out), "--values", str(values)]
    assert main(arguments) == 1
    assert asked == [("/x", None)]
    assert "differs" in capsys.readouterr().out
    assert out.read_text().startswith("# Equal to the originals")
    assert json.loads(values.read_text())["fixture"] == "abc"


def test_options_without_the_mode_are_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--out", "x.md"]) == 2
    assert "--out applies only to --verify-metrics" in capsys.readouterr().err


def test_no_python_for_the_originals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(environment, "_PROBE", "raise SystemExit(1)")
    with pytest.raises(MissingError, match=r"need Python 3\.11.*--official") as raised:
        doctor.verify(None, tmp_path, None, None)
    assert raised.value.exit_code == 4
    with pytest.raises(MissingError, match="does not exist"):
        environment.find_python(str(tmp_path / "nothing"))


def test_packages_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = []

    def run(command: Sequence[str], **settings: Any) -> subprocess.CompletedProcess[str]:
        done.append(list(command))
        failed = "pip" in command
        text = "ERROR: Could not find a version that satisfies torch==2.1.2\nnoise" if failed else ""
        return subprocess.CompletedProcess(command, int(failed), "", text)

    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(MissingError, match=r"pip install .*official\.txt.*torch==2\.1\.2") as raised:
        environment.find_python(None, tmp_path)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob("*/.complete"))


def test_a_complete_environment_is_used_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(command: Sequence[str], **settings: Any) -> subprocess.CompletedProcess[str]:
        if "venv" in command:
            (Path(command[-1]) / "bin").mkdir(parents=True)
            (Path(command[-1]) / "bin" / "python").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    first = environment.make(tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("made again"))
    assert environment.make(tmp_path) == first


def test_an_interpreter_without_the_originals(tmp_path: Path) -> None:
    """Our own Python lacks them: one sentence with the command that shows the rest."""
    (tmp_path / "fixture.json").write_text(json.dumps({"digest": "", "seed": 1, "pairs": []}))
    with pytest.raises(MissingError, match=r"did not run .*official\.py") as raised:
        environment.run_official(Path(sys.executable), tmp_path, ["hpsv2"])
    assert "\n" not in str(raised.value)


def test_the_script_of_the_originals_imports_nothing_of_ours() -> None:
    text = environment.SCRIPT.read_text(encoding="utf-8")
    assert not [line for line in text.splitlines() if line.strip().startswith(("import bench", "from bench"))]
    assert not [line for line in text.splitlines() if line.strip().startswith(("import metrics", "from metrics"))]


def test_draws_depend_on_seed_and_name_alone() -> None:
    """Pinned: these numbers come from the raw bits of PCG64 and must be the same everywhere."""
    draw = Draw(5)
    assert draw.bits("a", 3).tolist() == Draw(5).bits("a", 9)[:3].tolist()
    assert draw.bits("a", 3).tolist() != draw.bits("b", 3).tolist() != Draw(6).bits("b", 3).tolist()
    tiled = draw.tiled("t", 4, 2, 3, 3, scale=2.0)
    assert tiled.shape == (4, 2, 3, 3)
    assert tiled[1].flatten()[0] == tiled[0].flatten()[7]
    assert 1 < draw.tensor("u", 4000, scale=2.0, shift=1.0).std() < 3


def test_fixture_needs_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not empty"):
        fixtures.build(tmp_path)


def test_sixteen_bit_images_are_refused_unless_converted() -> None:
    """PIL cuts them off at 255: the originals that take them see a white image."""
    from PIL import Image

    from metrics.images import to_pil

    with pytest.raises(BadInputError, match="save it as 8-bit RGB"):
        to_pil([Image.new("I;16", (4, 4), 40000)])
