"""Executes a GitHub workflow's steps in a folder, as far as the example of the gate needs it.

`run` steps are executed by bash with the environment that GitHub gives them; `if` is evaluated. Checkout and setup do
nothing, the cache is a folder that is saved under its key, and artifacts are copied to another.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Job:
    """What came of a workflow: its exit code by step, what it printed, and the job's summary."""

    codes: dict[str, int] = field(default_factory=dict)
    out: str = ""
    summary: str = ""
    key: str = ""

    @property
    def passed(self) -> bool:
        return not any(self.codes.values())


@dataclass
class Runner:
    """GitHub's side: the repository, and folders for caches and artifacts. `commands` is a folder on the PATH."""

    repository: Path
    store: Path
    commands: Path
    skip: Sequence[str] = ()  # steps that would fetch: their command is only kept
    skipped: list[str] = field(default_factory=list)

    def execute(self, workflow: Path, inputs: Mapping[str, Any] | None = None) -> Job:
        """All steps of the one job; the first failure skips what has no `if: always()`."""
        content = yaml.safe_load(workflow.read_text(encoding="utf-8"))
        (job,) = content["jobs"].values()
        made = Job()
        summary = self.store / "summary.md"
        summary.parent.mkdir(parents=True, exist_ok=True)
        summary.write_text("", encoding="utf-8")
        environment = {**os.environ, **content.get("env", {}), **job.get("env", {})}
        environment |= {"GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_STEP_SUMMARY": str(summary)}
        environment["PATH"] = f"{self.commands}{os.pathsep}{environment['PATH']}"
        for number, step in enumerate(job["steps"]):
            name = step.get("name") or step["uses"]
            if not self._wanted(step.get("if"), made, inputs or {}):
                continue
            if "uses" in step:
                self._action(step, made)
            elif name in self.skip:
                self.skipped.append(step["run"])
            else:
                done = subprocess.run(
                    ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
                    cwd=self.repository, env=environment, capture_output=True, text=True, check=False,
                )  # fmt: skip
                made.codes[f"{number} {name}"] = done.returncode
                made.out += done.stdout + done.stderr
        self._save(made)
        made.summary = summary.read_text(encoding="utf-8")
        return made

    def _wanted(self, condition: object, made: Job, inputs: Mapping[str, Any]) -> bool:
        text = str(condition or "success()").strip().removeprefix("${{").removesuffix("}}").strip()
        if text == "always()":
            return True
        known = {"success()": True, "inputs.renew": bool(inputs.get("renew"))}
        value = not known[text[1:].strip()] if text.startswith("!") else known[text]
        return made.passed and value

    def _action(self, step: Mapping[str, Any], made: Job) -> None:
        action, given = str(step["uses"]).partition("@")[0], step.get("with", {})
        if action == "actions/cache":
            made.key = re.sub(r"\$\{\{ hashFiles\((.*?)\) \}\}", lambda found: self._hash(found[1]), given["key"])
            saved = self.store / "cache" / made.key
            if not saved.exists():  # the newest whose key begins so
                older = sorted((self.store / "cache").glob(f"{given.get('restore-keys', '-').strip()}*"))
                saved = max(older, key=lambda path: path.stat().st_mtime, default=saved)
            if saved.exists():
                shutil.copytree(saved, self.repository / given["path"], dirs_exist_ok=True)
            self._cached = given["path"]
        elif action == "actions/upload-artifact":
            for line in given["path"].split():
                source, target = self.repository / line, self.store / "artifacts" / line
                target.parent.mkdir(parents=True, exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, target, dirs_exist_ok=True)
                elif source.exists():
                    shutil.copy(source, target)
        elif action not in ("actions/checkout", "actions/setup-python"):
            raise ValueError(f"{action} is not known here")

    def _hash(self, patterns: str) -> str:
        whole = hashlib.sha256()
        for pattern in re.findall(r"'(.*?)'", patterns):
            for path in sorted(self.repository.glob(f"{pattern}/*" if pattern.endswith("**") else pattern)):
                if path.is_file():
                    whole.update(path.read_bytes())
        return whole.hexdigest()[:16]

    def _save(self, made: Job) -> None:
        source = self.repository / self._cached
        if made.key and source.exists() and not (self.store / "cache" / made.key).exists():
            shutil.copytree(source, self.store / "cache" / made.key)
        shutil.rmtree(self.repository / "results", ignore_errors=True)  # the next job has a fresh machine
