"""Check the types of the report page's scripts with tsc: `python tests/js/check.py`, which `make lint` does.

What the scripts work on is declared anew each time (declare.py). TypeScript comes from the npm registry, pinned in
package-lock.json, into tests/js/node_modules on first use. Where that cannot be, since there is no npm or no registry,
the check is skipped, and the reason printed.
"""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE / "node_modules" / "typescript"
# What npm calls a registry that does not answer; any other failure, a wrong digest among them, fails the check.
UNREACHABLE = (
    *("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ERR_SOCKET_TIMEOUT"),
    *("EHOSTUNREACH", "ENETUNREACH", "E502", "E503"),
)


def pinned() -> str:
    """The version of TypeScript that the lock file names."""
    lock = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))
    return str(lock["packages"]["node_modules/typescript"]["version"])


def installed() -> str | None:
    """The version that is installed here, if any."""
    manifest = PACKAGE / "package.json"
    return str(json.loads(manifest.read_text(encoding="utf-8"))["version"]) if manifest.is_file() else None


def compiler() -> list[str] | str:
    """The command that runs tsc; or the reason why there is none. RuntimeError when npm fails for another reason."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None:
        return "there is no node on this machine"
    if installed() != pinned():
        if npm is None:
            return "there is no npm on this machine"
        command = [
            npm,
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--fetch-retries=1",
            "--fetch-timeout=20000",
        ]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            code = next((code for code in UNREACHABLE if code in done.stderr), None)
            if code is None:
                raise RuntimeError(f"npm ci failed in {HERE}:\n{done.stderr}")
            return f"the npm registry cannot be reached ({code})"
    return [node, str(PACKAGE / "bin" / "tsc")]


def main() -> int:
    """Check, and say what was checked or why not; the exit code is that of tsc."""
    try:
        command = compiler()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    if isinstance(command, str):
        print(f"page scripts: types not checked, since {command}")
        return 0
    (HERE / "page.d.ts").write_text(runpy.run_path(str(HERE / "declare.py"))["document"](), encoding="utf-8")
    done = subprocess.run([*command, "--project", str(HERE)], check=False)
    if done.returncode == 0:
        print(f"page scripts: no type errors (TypeScript {pinned()})")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
