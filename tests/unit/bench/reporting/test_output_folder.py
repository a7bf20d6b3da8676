"""The folder of a report: never a user's, never half of one; and what of foreign runs must not get out of it."""

from __future__ import annotations

import contextlib
import csv
import json
import runpy
from pathlib import Path

import pytest

from bench.cli.app import execute
from bench.errors import UsageError
from bench.formatting import csv_text, printable, without_folders
from bench.reporting import output_folder
from bench.reporting.output_folder import check_folder, fresh_folder
from bench.reporting.page import asset
from bench.reporting.report import report

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make = fakes["make"]
PAGE = '<!doctype html><meta name="generator" content="imagerefl-bench, with plotly 7">'


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.reporting.report._pictures", lambda table: {"pareto.svg": b"<svg/>"})


def write(out: Path, text: str) -> None:
    with fresh_folder(out) as fresh:
        (fresh / "index.html").write_text(PAGE + text)


def test_a_folder_that_no_report_made_is_refused_untouched(tmp_path: Path) -> None:
    for name in ("table.csv", "index.html", "notes.txt"):
        out = tmp_path / name.replace(".", "-")
        out.mkdir()
        (out / name).write_text("mine")
        with pytest.raises(UsageError, match="already exists and was not created by `bench report`; move it"):
            write(out, "new")
        assert [path.read_text() for path in out.iterdir()] == ["mine"]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        write(tmp_path / "file", "new")


def test_a_report_replaces_a_report_and_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write(out, "one")  # an empty folder is nobody's
    (out / "notes.txt").write_text("mine")
    (out / "deep").mkdir()
    (out / "deep" / "more.txt").write_text("mine, too")
    (out / "gallery.png").write_text("of the first report")
    write(out, "two")
    assert (out / "index.html").read_text().endswith("two")
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == [
        "deep",
        "deep/more.txt",
        "index.html",
        "notes.txt",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_error_leaves_the_old_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "one")
    with contextlib.suppress(KeyError), fresh_folder(out) as fresh:
        (fresh / "index.html").write_text("half")
        raise KeyError
    assert (out / "index.html").read_text().endswith("one")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    write(out, "one")
    (out / "notes.txt").write_text("mine")

    def killed(out: Path, fresh: Path) -> None:
        out.rename(out.with_name(f".{out.name}.before-report"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(output_folder, "_swap", killed)
        with pytest.raises(KeyboardInterrupt):
            write(out, "two")
    assert not out.exists()
    check_folder(out)
    assert (out / "index.html").read_text().endswith("one")
    write(out, "three")
    assert (out / "notes.txt").read_text() == "mine"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", "one")
    write(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "index.html").read_text().endswith("two")


def test_the_command_refuses_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "results", "base", prompts=3, samples=1)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("mine")
    assert execute(["report", "--results", str(tmp_path / "results"), "--out", str(tmp_path / "home")]) == 2
    assert "was not created by `bench report`" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.tex"]


def test_the_page_has_no_button_that_uploads() -> None:
    assert "showSendToCloud: false" in asset("page.js")


def foreign(folder: Path, **changes: object) -> None:
    """A run whose manifest somebody else wrote."""
    make(folder, "base", prompts=3, samples=1, images=True)
    manifest = next(folder.glob("runs/*/base@*/manifest.json"))
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))
    manifest.with_name("manifest.json.sha256").unlink()  # the digest that would tell of the change


@pytest.mark.parametrize(
    "changes", [{"suite": "../../evil"}, {"run": "../../evil@1"}, {"run": "base@../x"}, {"suite": "/"}]
)
def test_a_foreign_manifest_leads_nowhere_else(tmp_path: Path, changes: dict[str, object]) -> None:
    foreign(tmp_path / "results", **changes)
    with pytest.raises(UsageError, match="is damaged: (suite|run): must be"):
        report(tmp_path / "results", tmp_path / "deep" / "out", n_resamples=50)
    assert not (tmp_path / "evil").exists()


def test_prompt_ids_of_a_foreign_manifest(tmp_path: Path) -> None:
    foreign(tmp_path / "results", prompts=[{"id": "../../../evil", "text": "x"}])
    with pytest.raises(UsageError, match="is damaged: prompts: must be"):
        report(tmp_path / "results", tmp_path / "out", n_resamples=50)


def test_names_cannot_steer_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    escape = "\x1b]0;owned\x07\x1b[31mred"
    foreign(tmp_path / "named", method=escape)
    assert execute(["report", "--results", str(tmp_path / "named"), "--out", str(tmp_path / "none")]) == 2
    foreign(tmp_path / "results", resolved_suite={"title": escape}, notes={"pickscore": [escape]})
    assert execute(["report", "--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")]) == 0
    assert execute(["compare", escape, "x\x1b[2J", "--results", str(tmp_path / "results")]) == 2
    said = capsys.readouterr()
    assert "method: must be a name without control characters" in said.err
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").glob("*.*") if path.suffix != ".png")
    assert "\x1b" not in said.out + said.err
    assert b"\x1b" not in written.replace(b"\\x1b", b"")


def test_cells_begin_no_formula(tmp_path: Path) -> None:
    foreign(
        tmp_path / "results", method="=HYPERLINK(1)", prompts=[{"id": f"s-00{k}", "text": "@SUM(A1)"} for k in range(3)]
    )
    report(tmp_path / "results", tmp_path / "out", n_resamples=50)
    for name in ("table.csv", "scores.csv"):
        with (tmp_path / "out" / name).open(encoding="utf-8", newline="") as stream:
            for row in csv.reader(stream):
                texts = [cell for cell in row if not cell.lstrip("+-").replace(".", "", 1).replace("e-", "").isdigit()]
                assert not any(cell.startswith(("=", "@", "+")) for cell in texts), row
    assert "'=HYPERLINK(1)" in (tmp_path / "out" / "table.csv").read_text()
    assert [csv_text(one) for one in ("-1", "x=1", "\t=1")] == ["'-1", "x=1", "'\t=1"]


def test_no_path_of_the_machine(tmp_path: Path) -> None:
    where = str(tmp_path / "secret" / "place")
    suite = {"model": {"family": "sd", "weights": f"{where}/pipeline"}, "prompts": f"{where}/p.txt"}
    suite["reference"] = {"kind": "folder", "path": f"{where}/coco"}
    notes = {"gone": [f"could not be scored: weights '{where}/unet' do not exist"]}
    foreign(tmp_path / "results", resolved_suite=suite, notes={k: [without_folders(v[0])] for k, v in notes.items()})
    report(tmp_path / "results", tmp_path / "out", n_resamples=50)
    for path in (tmp_path / "out").iterdir():
        if path.is_file():
            assert b"secret/place" not in path.read_bytes(), path.name
    assert "p.txt" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("weights '/home/me/out/unet' gone", "weights 'unet' gone"),
        ("~/x/y.npz", "y.npz"),
        (r"C:\Users\me\y.npz", "y.npz"),
        ("https://example.org/a/b and/or c", "https://example.org/a/b and/or c"),
        ("owner/name:unet 1/2", "owner/name:unet 1/2"),
    ],
)
def test_paths_in_texts(text: str, found: str) -> None:
    assert without_folders(text) == found
    assert printable("a\x1b[2J\nb\u202e") == "a [2J\nb "
