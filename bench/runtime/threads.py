"""How many threads torch should use on a machine that may have other things to do.

Threads of one operator wait for each other: on two cores, one of them busy with another process, two threads made a
small UNet fifteen times slower than one. So the busy cores are left alone, and what was chosen is said.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class ThreadChoice:
    """`count` threads (at least 1), and `reason`: one clause that says why, fit for "2 threads: <reason>"."""

    count: int
    reason: str

    def __str__(self) -> str:
        return f"{self.count} thread{'' if self.count == 1 else 's'} ({self.reason})"


def available_cores(cpu_max: Path = CGROUP_CPU_MAX) -> int:
    """Cores that this process may use: its affinity, cut by the quota of its container (cgroup v2) if there is one."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # no affinity outside Linux
        cores = os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no such file, or "max": no quota
        pass
    return max(1, cores)


def explain_threads(environment: Mapping[str, str] | None = None) -> ThreadChoice:
    """The choice and its reason: OMP_NUM_THREADS if set, else available cores minus the busy ones, at least 1.

    Busy is the load average of the last minute, scaled to this process's share of the machine's cores.
    """
    asked = (os.environ if environment is None else environment).get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return ThreadChoice(int(asked), f"OMP_NUM_THREADS={asked}")
    cores = available_cores()
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):  # not on this system
        return ThreadChoice(cores, f"{_cores(cores)}, load unknown")
    busy = round(load * cores / max(cores, os.cpu_count() or 1))
    count = max(1, cores - busy)
    return ThreadChoice(count, f"{_cores(cores)}, load average {load:.1f}; OMP_NUM_THREADS overrides")


def choose_threads() -> int:
    """The number alone; `explain_threads` also says why."""
    return explain_threads().count


def apply_threads() -> ThreadChoice:
    """Choose, set torch's intra-operator threads, and return the choice for the caller to print."""
    import torch

    choice = explain_threads()
    torch.set_num_threads(choice.count)
    return choice


def _cores(count: int) -> str:
    return f"{count} core{'' if count == 1 else 's'}"
