"""Facts: what a step, or the composition of a recipe, was seen to depend on.

A fact is ``(kind, name, value)``:

========  =====================  =====================================================
kind      name                   value
========  =====================  =====================================================
file      path                   digest of its content
absent    path                   empty: nothing was there
folder    path                   empty: a folder was there
listing   path                   digest of the names and kinds of what the folder holds
package   distribution           its version; empty where it is not installed
prefix    start of a name        names and versions of all distributions that begin so
link      path                   digest of where a symbolic link points
shadows   modules in folder      which of the modules looked for in the folder are there: none
module    module                 empty: no package that is installed brings it
variable  environment variable   digest of its value; empty where it is not set
machine   ``id``                 this machine (results that depend on files outside the project)
========  =====================  =====================================================

A path below the project root is written ``./x``, below a named root ``$name/x``, elsewhere absolute.

Bare functions on purpose: a fully cached build runs through here and imports next to nothing.
"""

from __future__ import annotations

import os
import stat
import sys
import time

SETTLED = 2_000_000_000
"""Nanoseconds after its last change from which a file's signature vouches for its content: file
systems and kernels keep times coarsely, so that a later write could leave the same signature."""

SEPARATOR = "\0"
"""Between the names of a listing: no name holds it."""

UNLISTED = frozenset({"__pycache__", ".git"})
"""Names that never count in the listing of a folder."""


def name_path(path: str, root: str, roots: dict[str, str]) -> str:
    """Name an absolute, normalized path as facts do."""
    if path == root:
        return "."
    if path.startswith(root + "/"):
        return "./" + path[len(root) + 1 :]
    for name, folder in roots.items():
        if path == folder or path.startswith(folder + "/"):
            return f"${name}" + path[len(folder) :]
    return path


def find_path(name: str, root: str, roots: dict[str, str]) -> str:
    """Give the absolute path that `name_path` named. Raises `KeyError` for an unknown root."""
    if name == ".":
        return root
    if name.startswith("./"):
        return root + name[1:]
    if name.startswith("$"):
        head, _, tail = name[1:].partition("/")
        return os.path.join(roots[head], tail) if tail else roots[head]
    return name


def signature(status: os.stat_result) -> tuple[int, int, int, int]:
    """Give what stands for a file's content while it does not change: size, times, inode."""
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def is_settled(seen: tuple[int, int, int, int], at_ns: int | None = None) -> bool:
    """Tell whether a digest taken at `at_ns` (now) may be remembered for the signature `seen`."""
    at_ns = time.time_ns() if at_ns is None else at_ns
    return at_ns - max(seen[1], seen[2]) >= SETTLED


def now(
    kind: str,
    name: str,
    root: str,
    roots: dict[str, str],
    known: dict[str, tuple[tuple[int, int, int, int], str]],
    ignored: tuple[str, ...] = (),
) -> tuple[str, str]:
    """Give the kind and value that hold now for what a fact names.

    `known` maps absolute paths to a signature and the digest it vouches for; it gains what is
    digested here and has settled. A path fact's kind changes with what is there: a fact ``file``
    whose file has gone comes back as ``absent``.
    """
    if kind == "package":
        return kind, installed().get(name, "")
    if kind == "prefix":
        return kind, prefixed(name)
    if kind == "variable":
        return kind, digest_variable(name)
    if kind == "machine":
        return kind, machine_id()
    if kind == "module":
        return kind, "installed" if name in importable() else ""
    if kind == "shadows":
        return kind, shadowing(name, root, roots)
    try:
        path = find_path(name, root, roots)
    except KeyError:
        return "absent", ""
    if kind == "link" and os.path.islink(path):
        return kind, digest_link(path)
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "absent", ""
    except OSError:
        return "unreadable", ""
    if stat.S_ISDIR(status.st_mode):
        return (kind, digest_listing(path, ignored)) if kind == "listing" else ("folder", "")
    if not stat.S_ISREG(status.st_mode):
        return "special", ""
    return _content(path, signature(status), known)


def _content(
    path: str,
    seen: tuple[int, int, int, int],
    known: dict[str, tuple[tuple[int, int, int, int], str]],
) -> tuple[str, str]:
    """Digest a file, unless its signature vouches for what is known of it."""
    remembered = known.get(path)
    if remembered is not None and remembered[0] == seen:
        return "file", remembered[1]
    from onnxbuild.core.digest import digest_file

    try:
        digest = digest_file(path)
    except OSError:
        return "unreadable", ""
    if is_settled(seen):
        known[path] = (seen, digest)
    return "file", digest


def is_vouched(path: str, known: dict[str, tuple[tuple[int, int, int, int], str]]) -> bool:
    """Tell whether a file's digest is known without reading it."""
    remembered = known.get(path)
    try:
        return remembered is not None and remembered[0] == signature(os.stat(path))
    except OSError:
        return False


def first_broken(
    facts: list[tuple[str, str, str]] | tuple[tuple[str, str, str], ...],
    root: str,
    roots: dict[str, str],
    known: dict[str, tuple[tuple[int, int, int, int], str]],
    ignored: tuple[str, ...] = (),
) -> tuple[tuple[str, str, str], tuple[str, str]] | None:
    """Give the first fact that no longer holds, with the kind and value that do; None if all hold."""
    for fact in facts:
        current = now(fact[0], fact[1], root, roots, known, ignored)
        if current != (fact[0], fact[2]):
            return fact, current
    return None


def digest_listing(path: str, ignored: tuple[str, ...] = ()) -> str:
    """Digest the names in a folder and whether each is a folder, less what is never observed."""
    from onnxbuild.core.digest import digest_bytes

    return digest_bytes(
        SEPARATOR.join(list_folder(path, ignored)).encode("utf-8", "surrogateescape")
    )


def list_folder(path: str, ignored: tuple[str, ...] = ()) -> list[str]:
    """List the names in a folder, those of folders with a slash, less what is never observed."""
    lines = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name in UNLISTED or entry.path in ignored:
                continue
            lines.append(entry.name + ("/" if entry.is_dir() else ""))
    lines.sort()
    return lines


def digest_link(path: str) -> str:
    """Digest where a symbolic link points. Raises `OSError` when it is none."""
    from onnxbuild.core.digest import digest_bytes

    return digest_bytes(os.readlink(path).encode("utf-8", "surrogateescape"))


def shadowing(name: str, root: str, roots: dict[str, str]) -> str:
    """List which of ``numpy,torch in ./folder`` are in the folder, as a module or as a folder.

    One look at the folder for all modules that were looked for there before they were found
    elsewhere: a step that imports scikit-learn looks for some hundred beside its own code.
    """
    wanted, _, folder = name.partition(" in ")
    try:
        names = os.listdir(find_path(folder, root, roots))
    except (OSError, KeyError):
        return ""
    stems = {stem for stem, _, rest in map(_partition_dot, names) if not rest or _is_module(rest)}
    return ",".join(module for module in wanted.split(",") if module in stems)


def _partition_dot(name: str) -> tuple[str, str, str]:
    return name.partition(".")


def _is_module(suffix: str) -> bool:
    return suffix in {"py", "pyc"} or suffix.endswith("so")


def digest_variable(name: str) -> str:
    """Digest the value of an environment variable, so that a secret is never written down."""
    value = os.environ.get(name)
    if value is None:
        return ""
    from onnxbuild.core.digest import digest_bytes

    return digest_bytes(value.encode("utf-8", "surrogateescape"))


_installed: dict[str, str] = {}
_importable: set[str] = set()


def installed() -> dict[str, str]:
    """Map each installed distribution, by its normalized name, to its version.

    Read from the names of the ``dist-info`` folders, in the order of `sys.path`: `importlib.metadata`
    alone costs 16 ms. Read once in a process.
    """
    if not _installed:
        for folder in sys.path:
            if not folder.endswith(("-packages", "site-packages")):
                continue
            try:
                names = os.listdir(folder)
            except OSError:
                continue
            for name in names:
                _importable.add(name.partition(".")[0])
                if name.endswith((".dist-info", ".egg-info")):
                    distribution, _, version = name[:-10].partition("-")
                    _installed.setdefault(normalize(distribution), version.partition("-py")[0])
    return _installed


def importable() -> set[str]:
    """Give the names of the modules and folders in the folders of installed packages."""
    installed()
    return _importable


def prefixed(start: str) -> str:
    """List all distributions whose normalized name begins with `start`."""
    return " ".join(
        f"{name}=={version}"
        for name, version in sorted(installed().items())
        if name.startswith(start)
    )


def normalize(distribution: str) -> str:
    """Normalize the name of a distribution: ``PyYAML`` and ``py_yaml`` become ``pyyaml``, ``py-yaml``."""
    name = distribution.lower().replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name


def machine_id() -> str:
    """Tell this machine from others."""
    from onnxbuild.core.digest import digest_bytes

    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            with open(path, "rb") as file:
                return digest_bytes(file.read().strip())
        except OSError:
            continue
    return digest_bytes(os.uname().nodename.encode())
