"""The run id of every ready suite x method: a change of code must not make finished runs strangers.

`run_ids.txt` was written by commit 6c535c3. An id may change only together with the pixels of exactly that run. Weights
that must be fetched are stood in for by their names: a name that gains a pinned revision changes its line here, though
not the id of a real run, which holds the digest of the weights.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from bench.errors import BenchError
from bench.methods import method_names
from bench.models.weights import digest_of
from bench.suite.load import load_suite, suite_names
from bench.suite.plan import make_plan, weights_names
from bench.suite.prompts import load_prompts
from bench.suite.resolve import resolve_method
from prompts import Prompt

GOLDEN = Path(__file__).parent / "run_ids.txt"
PROMPTS = [Prompt("a", "a red circle"), Prompt("b", "a blue star")]


def run_ids() -> list[str]:
    """ "suite run" of each; weights and prompts that must be fetched are stood in for by their names."""
    lines = []
    for name in suite_names():
        suite = load_suite(name)
        embedded = name == "shapes"
        prompts = load_prompts(suite.prompts) if embedded else PROMPTS
        for method in method_names():
            try:
                resolved = resolve_method(method, suite)
                used = weights_names(suite, [resolved])
                digests = {w: digest_of(w) if embedded else hashlib.sha256(w.encode()).hexdigest() for w in used}
                lines.append(f"{name} {make_plan(suite, [resolved], prompts, digests)[0].name}")
            except BenchError as error:
                lines.append(f"{name} {method}: {type(error).__name__}")
    return lines


def test_run_ids_are_what_they_were() -> None:
    known = GOLDEN.read_text(encoding="utf-8").splitlines()
    assert set(known) - set(run_ids()) == set()
