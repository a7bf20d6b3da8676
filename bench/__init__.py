"""imagerefl-bench: how much diversity did a reward-aligned text-to-image model pay for its quality?

The public functions are loaded on first use, so `import bench` costs nothing. Each does what the command of its name
does, with a keyword for each flag:

    bench.run(...)            generate what is missing, score it, summarise it
    bench.plan(...)           what a run would make, fetch and cost, and what it could tell
    bench.score(...)          score runs again, or images from anywhere
    bench.import_scores(...)  scores of others as a run
    bench.report(...)         the page, tables and Pareto plots
    bench.compare(a, b)       paired differences of two runs
    bench.agreement(votes)    metrics against a table of human votes
    bench.claims(file)        which sentences the runs carry
    bench.check(...)          verdicts against thresholds and a baseline
    bench.make_reference(...) the statistics of reference images, in a file
    bench.train(...)          make a checkpoint
    bench.export_hub_results(runs, out)  results as the hub reads them
    bench.export_croissant(run, out)     a run's images as a data set
    bench.track(runs, "wandb")           runs in an experiment tracker
    bench.leaderboard(results, out)  ranks and histories over results folders; records
    bench.check_records(files)  whether records are what they say
    bench.remove_runs(runs)   remove runs with their images
    bench.load_results(path)  tidy rows as a pandas.DataFrame

and what a file of one's own needs (`bench run --plugin my_methods.py`):

    bench.register_method(bench.Method(..., bench.Schedule(...)))
    bench.register_model(family, "my_module:Class")
    metrics.register(name, "my_module:Class", metrics.Facts(...))
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# No submodule of `bench` has the name of a function here, so each name is the function and nothing else.
_PUBLIC = {
    "Method": "bench.methods.catalogue",
    "Schedule": "bench.methods.schedule",
    "agreement": "bench.reporting.agreement",
    "check": "bench.gate.check",
    "check_records": "bench.reporting.leaderboard.leaderboard",
    "claims": "bench.study.claims",
    "compare": "bench.analysis.compare",
    "export_croissant": "bench.reporting.export.croissant",
    "export_hub_results": "bench.reporting.export.hub_results",
    "import_scores": "bench.pipeline.import_scores",
    "leaderboard": "bench.reporting.leaderboard.leaderboard",
    "load_results": "bench.analysis.load_results",
    "make_reference": "bench.pipeline.reference",
    "plan": "bench.pipeline.plan",
    "register_method": "bench.methods.catalogue",
    "register_model": "bench.registry.families",
    "remove_runs": "bench.store.remove",
    "report": "bench.reporting.report",
    "run": "bench.pipeline.run",
    "score": "bench.pipeline.rescore",
    "track": "bench.reporting.export.trackers",
    "train": "bench.pipeline.train",
}

__all__ = [
    "Method",
    "Schedule",
    "agreement",
    "check",
    "check_records",
    "claims",
    "compare",
    "export_croissant",
    "export_hub_results",
    "import_scores",
    "leaderboard",
    "load_results",
    "make_reference",
    "plan",
    "register_method",
    "register_model",
    "remove_runs",
    "report",
    "run",
    "score",
    "track",
    "train",
]


if TYPE_CHECKING:  # so that types and signatures are known where they are used
    from bench.analysis.compare import compare
    from bench.analysis.load_results import load_results
    from bench.gate.check import check
    from bench.methods.catalogue import Method, register_method
    from bench.methods.schedule import Schedule
    from bench.pipeline.import_scores import import_scores
    from bench.pipeline.plan import plan
    from bench.pipeline.reference import make_reference
    from bench.pipeline.rescore import score
    from bench.pipeline.run import run
    from bench.pipeline.train import train
    from bench.registry.families import register_model
    from bench.reporting.agreement import agreement
    from bench.reporting.export.croissant import export_croissant
    from bench.reporting.export.hub_results import export_hub_results
    from bench.reporting.export.trackers import track
    from bench.reporting.leaderboard.leaderboard import check_records, leaderboard
    from bench.reporting.report import report
    from bench.store.remove import remove_runs
    from bench.study.claims import claims


if os.environ.get("BENCH_LOG_LEVEL"):  # how the processes that a command starts are heard: see bench.runtime.log
    importlib.import_module("bench.runtime.log").show()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("imagerefl-bench")
        except PackageNotFoundError:  # a checkout that was never installed
            return "0+unknown"
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'bench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
