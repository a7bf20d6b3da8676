"""table.tex is a document that compiles, whatever the names."""

from __future__ import annotations

import re
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
seeds = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "seeds.py"))
make = fakes["make"]
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


def test_the_label_stands_once_in_a_caption_and_in_no_head(results: Path) -> None:
    text = latex(build(open_runs(results)[0], n_resamples=50))
    assert text.count("(shapes)") == text.count(r"\caption{Shapes (shapes): ") == 2


def balanced(text: str) -> bool:
    """Whether environments and groups close in the order in which they opened."""
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{([a-z*]+)\}", text):
        if kind == "begin":
            opened.append(name)
        elif not opened or opened.pop() != name:
            return False
    plain = re.sub(r"\\[{}]", "", text)
    return not opened and plain.count("{") == plain.count("}")


@pytest.mark.slow
@pytest.mark.parametrize(("methods", "long"), [(14, False), (15, True)])
def test_from_15_methods_on_tables_break_over_pages(tmp_path: Path, methods: int, long: bool) -> None:
    names = ["base", *(f"m{i:02d}" for i in range(1, methods))]
    for name in names:
        make(tmp_path, name, prompts=2, samples=1, metrics=("pickscore", "lpips"), means=fakes["MEANS"]["refl"])
    text = latex(build(open_runs(tmp_path)[0], n_resamples=20))
    first = re.search(r"\\begin\{([a-z*]+)\}", text)
    assert first is not None
    assert first[1] == ("longtable" if long else "table*")
    assert ("longtable" in text.splitlines()[0]) is long
    assert balanced(text)
    if long:
        assert text.count(r"\endhead") == text.count(r"\begin{longtable}") == 1  # differences are of 14 methods
        body = text[text.index(r"\endfoot") : text.index(r"\end{longtable}")].splitlines()[1:]
        assert [line[-3:] for line in body] == [r"\\*", r" \\"] * methods  # a value and its interval stay together
        assert all(line.count("&") == 2 for line in body)


@pytest.mark.slow
def test_training_seeds_have_tables_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, "base", prompts=8, samples=2)
    for number in range(3):
        seeds["store"](tmp_path, "refl", number, prompts=8, samples=2)
    table = build(open_runs(tmp_path)[0], n_resamples=20)
    assert table.methods
    text = latex(table)
    assert r"\label{tab:shapes-seeds}" in text
    assert r"\label{tab:shapes-seeds-differences}" in text
    assert "refl (3 checkpoints) & " in text
    assert balanced(text)


def test_it_compiles(results: Path) -> None:
    compiler = shutil.which("pdflatex") or shutil.which("tectonic")
    if compiler is None:
        pytest.skip("no LaTeX on this machine (`apt-get install texlive-latex-recommended`)")
    report(results, results / "out", n_resamples=50)
    text = (results / "out" / "table.tex").read_text(encoding="utf-8")
    packages = r"\usepackage{booktabs}\usepackage{longtable}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}{text}\end{{document}}"
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
