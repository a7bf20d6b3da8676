from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from bench.doctor import examine as doctor
from bench.doctor.examine import Finding, Report


def test_something_needed_and_missing_is_exit_code_4() -> None:
    report = Report((Finding("python", "3.11"), Finding("torch", "not installed", "pip install torch")))
    assert report.exit_code == 4
    assert "cannot run" in report.verdict
    assert report.table().rows == (("ok", "python", "3.11"), ("missing", "torch", "not installed"))


def test_something_optional_is_told_but_does_not_fail() -> None:
    report = Report((Finding("hub", "does not answer", "export HTTPS_PROXY=...", needed=False),))
    assert report.exit_code == 0
    assert report.table().rows[0][0] == "absent"
    assert len(report.broken) == 1


def test_one_command_that_fixes_several_things_is_told_once() -> None:
    report = Report((Finding("a", "", "make shapes"), Finding("b", "", "make shapes")))
    assert report.fixes == {"make shapes": ["a", "b"]}


def test_a_missing_package_gets_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", absent)
    monkeypatch.setattr(doctor, "REQUIRED", ("peft",))
    (finding,) = doctor._packages()
    assert finding.mark == "missing"
    assert finding.fix.endswith("peft")
    assert "-m pip install" in finding.fix


def test_a_package_that_does_not_import_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    def broken(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(doctor, "version", lambda name: "1.0")
    monkeypatch.setattr(importlib, "import_module", broken)
    monkeypatch.setattr(doctor, "REQUIRED", ("torchvision",))
    (finding,) = doctor._packages()
    assert "torchvision::nms" in finding.state
    assert "--force-reinstall torchvision" in finding.fix
