"""table.tex is a document that compiles, whatever the names."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.analysis.table.build import build
from bench.reporting.latex import escape_latex, latex
from bench.reporting.report import report
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
ODD = r"a_b\end%$&#~^{}[x]<é>|"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for method in ("base", ODD):
        fakes["make"](tmp_path, method, prompts=4, samples=2, means=fakes["MEANS"]["refl"])
    return tmp_path


def test_many_metrics_stand_in_tabulars_below_one_another(results: Path) -> None:
    text = latex(build(open_runs(results)[0], n_resamples=50))
    assert text.count(r"\begin{tabular}{lrrrr}") == 4  # 8 metrics in two parts, for means and for differences
    assert text.count(r"\begin{table*}") == 2


def test_it_compiles(results: Path) -> None:
    compiler = shutil.which("pdflatex") or shutil.which("tectonic")
    if compiler is None:
        pytest.skip("no LaTeX on this machine (`apt-get install texlive-latex-recommended`)")
    report(results, results / "out", n_resamples=50)
    text = (results / "out" / "table.tex").read_text(encoding="utf-8")
    document = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{text}\end{{document}}"
    (results / "all.tex").write_text(document, encoding="utf-8")
    options = ["-interaction=nonstopmode", "-halt-on-error"] if compiler.endswith("pdflatex") else []
    done = subprocess.run([compiler, *options, "all.tex"], cwd=results, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-1500:]
    assert b"Overfull" not in done.stdout


def test_characters_that_print_nothing_go_and_others_than_latin_are_told(tmp_path: Path, results: Path) -> None:
    assert escape_latex("a\u202eb\u200dc\x07d") == "abcd"  # direction of writing, a joiner, a bell
    assert "XeLaTeX" not in latex(build(open_runs(results)[0], n_resamples=50))  # é is Latin
    fakes["make"](tmp_path / "r", "a\u4e2d\U0001f600\u202e", prompts=4, samples=2, means=fakes["MEANS"]["refl"])
    text = latex(build(open_runs(tmp_path / "r")[0], n_resamples=50))
    assert text.splitlines()[1] == "% names in it have characters for XeLaTeX or LuaLaTeX, with a font that has them"
    assert "a\u4e2d\U0001f600 &" in text
