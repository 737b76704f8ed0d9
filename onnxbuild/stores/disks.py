"""On what kind of disk a folder lies."""

from __future__ import annotations

import os

LEAST = 65536
"""Bytes that a database needs to write anything at all."""

MOUNTS = "/proc/self/mounts"
"""Linux's list of file systems; elsewhere nothing is known, and nothing refused."""

NETWORKS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph"}
)  # fmt: skip
"""Types of file systems that other machines write to as well: locks and sqlite's shared memory fail there."""


def network_of(path: str) -> str:
    """Give the type of the network file system that `path` lies on; empty for a local disk."""
    path = os.path.realpath(path)
    best, found = "", ""
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    for line in lines:
        _, place, kind, *_ = line.split(" ")
        place = place.replace("\\040", " ")
        # A later mount on the same place hides an earlier one.
        if len(place) >= len(best) and (path == place or path.startswith(place.rstrip("/") + "/")):
            best, found = place, kind
    return found if found in NETWORKS else ""


def is_full(folder: str) -> bool:
    """Tell whether next to nothing can be written to the disk of a folder."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize < LEAST or (status.f_files > 0 and not status.f_favail)
