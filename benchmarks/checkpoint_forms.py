"""Every form of a checkpoint x family, as Markdown: exact, with the largest error, or refused, with the sentence.

`python benchmarks/checkpoint_forms.py > docs/checkpoint_forms_full.md` for whole checkpoints, `python
benchmarks/checkpoint_forms.py adapters > docs/checkpoint_forms_adapters.md` for LoRA and its relatives (about ten
minutes on one core each). The forms are those of the tests (tests/unit/bench/models/{whole,adapter}_forms.py), which
fail where one of them is not exact or not refused.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Print the page."""
    sys.path.insert(0, str(ROOT))
    package = ModuleType("tests")  # other distributions install a package of this name
    package.__path__ = [str(ROOT / "tests")]
    sys.modules["tests"] = package
    from tests.unit.bench.models import adapter_forms, whole_forms

    pages = {(): whole_forms.page, ("adapters",): adapter_forms.page}
    print(pages[tuple(sys.argv[1:])](), end="")


if __name__ == "__main__":
    main()
