"""Checks the installation: what works on this machine, and for each problem the command that fixes it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, MissingError
from bench.formatting import Table
from bench.runtime.packages import REQUIRED
from bench.runtime.threads import explain_threads

if TYPE_CHECKING:
    from bench.doctor.parity.compare import Outcome

PYTHONS = ((3, 11), (3, 13))
IMPORTED = {"torch", "torchvision"}  # a torchvision made for another torch is installed, and yet does not import
HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked. `fix` is the command that fixes it, "" if nothing is wrong."""

    subject: str
    state: str
    fix: str = ""
    needed: bool = True  # by the embedded suite
    suspect: bool = False

    @property
    def mark(self) -> str:
        """ok, missing, absent (missing, but not needed by the embedded suite), or suspect (there, and maybe wrong)."""
        if self.suspect:
            return "suspect"
        return "ok" if not self.fix else "missing" if self.needed else "absent"


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, with the verdict for the embedded suite."""

    findings: tuple[Finding, ...]

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The findings with something to fix."""
        return tuple(finding for finding in self.findings if finding.fix)

    @property
    def fixes(self) -> dict[str, list[str]]:
        """Each command that fixes something, with the things that it fixes."""
        found: dict[str, list[str]] = {}
        for finding in self.broken:
            found.setdefault(finding.fix, []).append(finding.subject)
        return found

    @property
    def exit_code(self) -> int:
        """0 when the embedded suite can run, else 4."""
        return MissingError.exit_code if any(finding.needed for finding in self.broken) else 0

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.exit_code:
            return "The embedded suite cannot run yet: see the lines marked 'missing'."
        return "The embedded suite can run: bench run --method base,refl,combined,imagerefl"

    @property
    def data(self) -> dict[str, Any]:
        """Plain JSON data: what `bench doctor --json` prints."""
        findings = [
            {"mark": one.mark, "what": one.subject, "state": one.state, "fix": one.fix} for one in self.findings
        ]
        return {"code": self.exit_code, "verdict": self.verdict, "findings": findings}

    def table(self) -> Table:
        """The findings for printing."""
        return Table(("", "what", "state"), tuple((f.mark, f.subject, f.state) for f in self.findings))


def examine(ask_hub: bool = False) -> Report:
    """Look at Python, packages, device, threads and the weights of the embedded suite; at the hub only if asked."""
    findings = [_python(), *_packages(), _device(), Finding("threads", str(explain_threads())), *_weights()]
    findings.append(_hub() if ask_hub else Finding("hub", "not asked (bench doctor --hub asks)", needed=False))
    return Report(tuple(findings))


def verify(python: str | None, cache: Path | None, out: Path | None, values: Path | None) -> Outcome:
    """Compare every scorer with its original package; write the page to `out` and the originals' values to `values`.

    MissingError (exit code 4) where the originals' environment cannot be made; see `bench.doctor.parity`.
    """
    from bench.doctor.parity import compare, page
    from bench.store.atomic import atomic_write

    outcome, official = compare.verify(python, cache)
    if out is not None:
        atomic_write(out, page.page(outcome))
    if values is not None:
        atomic_write(values, page.recorded(official))
    return outcome


def _python() -> Finding:
    state = f"{platform.python_version()} ({sys.executable})"
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Finding("python", state)
    return Finding("python", state, "make PYTHON=python3.12 VENV=.venv312 install  # Python 3.11 to 3.13 is needed")


def _packages() -> Iterator[Finding]:
    import importlib

    for name in REQUIRED:
        try:
            state = version(name)
            if name in IMPORTED:
                importlib.import_module(name)
        except PackageNotFoundError:
            yield Finding(name, "not installed", _install(name))
        except Exception as wrong:  # an import can fail in any way, and here the failure is the finding
            why = " ".join(str(wrong).split())[:160]
            yield Finding(name, f"does not import: {why}", _install(f"--force-reinstall {name}"))
        else:
            yield Finding(name, state)


def _install(what: str) -> str:
    constraints = Path(__file__).parents[2] / "constraints.txt"
    pinned = f" -c {constraints}" if constraints.is_file() else ""
    return f"{sys.executable} -m pip install{pinned} {what}"


def _device() -> Finding:
    try:
        import torch
    except Exception:  # reported among the packages
        return Finding("device", "unknown: torch does not import", needed=False)
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Finding("device", f"cuda ({properties.name}, {properties.total_memory / 2**30:.0f} GiB)")
    if torch.backends.mps.is_available():
        return Finding("device", "mps")
    return Finding("device", "cpu (no GPU found: enough for the embedded suite)")


def _weights() -> Iterator[Finding]:
    """The weights that the embedded suite names: model, tuned checkpoints, metrics."""
    from bench.suite.load import load_suite

    try:
        suite = load_suite("shapes")
    except BenchError as wrong:
        yield Finding("suite shapes", str(wrong), _install("--force-reinstall --no-deps imagerefl-bench"))
        return
    specs = [suite.model.weights]
    specs += [override.weights for override in suite.methods.values() if override.weights]
    specs += [weights for override in suite.methods.values() for weights in override.replicates]
    specs += [metric.weights for metric in suite.metrics.values() if metric.weights]
    for spec in dict.fromkeys(specs):
        yield _weight(spec)


def _weight(spec: str) -> Finding:
    from bench.models import weights

    try:
        path = weights.resolve(spec)
        digest = weights.digest(path)
    except (BenchError, OSError) as wrong:
        return Finding(
            f"weights {spec}", str(wrong), "git checkout -- bench/shapes/weights  # or, from seeds: make shapes"
        )
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return Finding(f"weights {spec}", f"{size / 1e6:.1f} MB, sha256 {digest[:12]}")


def _hub() -> Finding:
    import urllib.error
    import urllib.request

    address = os.environ.get("HF_ENDPOINT", HUB)
    try:
        with urllib.request.urlopen(address, timeout=10):
            return Finding("hub", f"{address} answers", needed=False)
    except urllib.error.HTTPError as answer:  # it answers, if only to refuse
        return Finding("hub", f"{address} answers (status {answer.code})", needed=False)
    except (OSError, ValueError) as wrong:
        reason = getattr(wrong, "reason", wrong)
        fix = "export HTTPS_PROXY=...  # or download elsewhere and give local paths; the embedded suite needs no hub"
        return Finding("hub", f"{address} does not answer: {reason}", fix, needed=False)
