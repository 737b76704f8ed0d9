"""What this machine has to give."""

from __future__ import annotations

import os
import platform

CGROUP = "/sys/fs/cgroup"
"""Where Linux keeps the limits of a container."""


def memory_limit() -> int:
    """Give the bytes of memory that processes may take here: the machine's, or the container's limit."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [whole]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            with open(os.path.join(CGROUP, name), encoding="ascii") as file:
                text = file.read().strip()
        except OSError:
            # The other version of cgroups, or another system.
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def free_space(path: str) -> int:
    """Give the bytes that may still be written to the disk of a folder that may have yet to be made."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def cpu_flags() -> frozenset[str]:
    """Give the extensions of the processor, as Linux calls them; elsewhere the name of the processor."""
    if not os.path.exists("/proc/cpuinfo"):
        return frozenset({platform.processor()})
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() in {"flags", "Features"}:
                return frozenset(value.split())
    return frozenset()


def saturates() -> bool:
    """True where sums of products of 8-bit integers may saturate: on x86 without VNNI."""
    is_x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return is_x86 and not cpu_flags() & {"avx512_vnni", "avx_vnni"}
