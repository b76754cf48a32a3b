"""Whether base and task vectors are held in a device's memory, or read from their files at every trial."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

SHARE = 0.6  # of the free memory: the module's activations, the data and the allocator need the rest

_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class ResidencyPlan:
    """Where the parts of a merge in place live; str() is the line to show. All figures in bytes.

    `buffer`: the merged weights themselves, always on `device`. `stored`: base and task vectors, on the device too where
    `mode` is resident, in their files where it is streamed.
    """

    mode: Literal["resident", "streamed"]
    device: str
    buffer: int
    stored: int
    budget: int

    def __str__(self) -> str:
        where = "held in memory" if self.mode == "resident" else "read from their files at every trial"
        return (
            f"{self.mode} on {self.device}: merged weights {format_bytes(self.buffer)}, base and task vectors "
            f"{format_bytes(self.stored)} {where}, budget {format_bytes(self.budget)}"
        )


def plan_residency(device: torch.device, buffer: int, stored: int, budget: int | None = None) -> ResidencyPlan:
    """Resident where `buffer` and `stored` bytes together fit `budget`, by default a share of the device's free memory."""
    allowed = int(free_bytes(device) * SHARE) if budget is None else budget
    mode: Literal["resident", "streamed"] = "resident" if buffer + stored <= allowed else "streamed"
    return ResidencyPlan(mode, str(device), buffer, stored, allowed)


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had on a device without pushing anything out."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def format_bytes(count: int) -> str:
    """1234567 as 1.2 MB."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"
