"""Remembered answers: a text, and the facts that must hold for it to be true.

One file for each answer, written at once and checked by its digest::

    b3:…                                digest of all that follows
    root TAB name TAB folder            the named roots
    ignored TAB folder                  what listings leave out
    kind TAB name TAB value TAB size mtime_ns ctime_ns inode       (or - in place of the signature)

    the text

Paths below the project root are written relative to it, so that an answer outlives a move of the
project with its store: the signatures differ then, and the digests decide.

Bare functions on purpose: a fully cached build runs through here and imports next to nothing.
"""

from __future__ import annotations

import os
import stat

from onnxbuild.core.facts import find_path, is_settled, name_path, now, signature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Fact = tuple[str, str, str]
Signature = tuple[int, int, int, int]

CONTEXT = frozenset({"root", "ignored"})
"""First words of the lines that are no facts."""

FORMAT = b"answer 1\0"
"""Part of each name, so that another version's answers are never read."""

_GROUPS = dict.fromkeys(("file", "folder", "absent", "unreadable", "special"), "place")
"""Kinds of which a path has one."""

_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))


def recall(folder: str, key: str, root: str) -> str | None:
    """Give the text remembered for `key`, if all that it rests on still holds; else None.

    What had to be digested again and has settled is remembered for the next time.
    """
    found = recall_whole(folder, key, root)
    return None if found is None else found[2]


def recall_whole(
    folder: str, key: str, root: str
) -> tuple[list[Fact], dict[str, Signature], str] | None:
    """Give the facts, the signatures by absolute path that vouch for them, and the text; else None."""
    path = answer_path(folder, key)
    content = _read(path)
    if content is None:
        return None
    lines, _, body = content.partition("\n\n")
    roots: dict[str, str] = {}
    ignored: list[str] = []
    facts: list[Fact] = []
    known: dict[str, tuple[Signature, str]] = {}
    renewed = False
    for line in filter(None, lines.split("\n")):
        fields = line.split("\t")
        if "\\" in line:
            fields = [_unescape(field) for field in fields]
        if fields[0] in CONTEXT:
            if fields[0] == "root":
                roots[fields[1]] = fields[2]
            else:
                ignored.append(find_path(fields[1], root, {}))
            continue
        kind, name, value, seen = fields
        facts.append((kind, name, value))
        if kind == "absent":
            if _is_there(name, root, roots):
                return None
        elif kind != "file":
            if now(kind, name, root, roots, known, tuple(ignored)) != (kind, value):
                return None
        else:
            vouched = _look_at(name, value, seen, root, roots, known)
            if vouched is None:
                return None
            renewed = renewed or vouched
    signatures = {place: entry[0] for place, entry in known.items()}
    if renewed:
        from contextlib import suppress

        # Where it cannot be kept the answer is right all the same, and found as slowly the next time.
        with suppress(OSError):
            remember(folder, key, facts, signatures, root, roots, ignored, body)
    return facts, signatures, body


def remember(
    folder: str,
    key: str,
    facts: Iterable[Fact],
    signatures: Mapping[str, Signature],
    root: str,
    roots: Mapping[str, str],
    ignored: Sequence[str],
    body: str,
) -> None:
    """Remember `body` for `key`, as long as `facts` hold.

    `signatures` gives, by absolute path, the signatures that vouch for the digests of files: only such as had
    settled when the digest was taken (`onnxbuild.core.facts.is_settled`). Raises `OSError`.

    Facts that contradict each other, since a file changed between two looks at it, hold at no time: nothing
    is remembered then.
    """
    facts = list(dict.fromkeys(facts))
    if len(facts) != len({(_GROUPS.get(kind, kind), name) for kind, name, _ in facts}):
        return
    named = dict(roots)
    lines = [_line("root", name, path) for name, path in named.items()]
    lines += [_line("ignored", name_path(path, root, {})) for path in ignored]
    for fact in facts:
        seen = None
        if fact[0] == "file":
            try:
                seen = signatures.get(find_path(fact[1], root, named))
            except KeyError:
                seen = None
        settled = seen is not None and is_settled(seen)
        lines.append(_line(*fact, " ".join(map(str, seen)) if seen and settled else "-"))
    _write(answer_path(folder, key), "\n".join(lines) + "\n\n" + body)


def note_asked(folder: str, key: str) -> None:
    """Note that the answer for `key` was asked for just now: `gc` forgets those that nobody asks for."""
    try:
        os.utime(answer_path(folder, key))
    except OSError:
        # A store that cannot be written, which none collects either; or the answer was forgotten just now.
        return


def answer_path(folder: str, key: str) -> str:
    """Say in which file the answer for `key` is kept."""
    from onnxbuild.core.digest import PREFIX, digest_bytes

    digest = digest_bytes(FORMAT + key.encode("utf-8", "surrogatepass"))
    return os.path.join(folder, digest.removeprefix(PREFIX)[:40])


def is_whole(path: str) -> bool:
    """Tell whether the answer in a file is as it was written, or gone."""
    return _read(path) is not None or not os.path.exists(path)


def _look_at(
    name: str,
    value: str,
    seen: str,
    root: str,
    roots: dict[str, str],
    known: dict[str, tuple[Signature, str]],
) -> bool | None:
    """Compare a file with its digest; True where the signature did not vouch and now does, None if it differs."""
    try:
        path = find_path(name, root, roots)
        status = os.stat(path)
    except (OSError, KeyError):
        return None
    current = signature(status)
    if seen == " ".join(map(str, current)) and stat.S_ISREG(status.st_mode):
        known[path] = (current, value)
        return False
    if now("file", name, root, roots, known) != ("file", value):
        return None
    return path in known


def _is_there(name: str, root: str, roots: dict[str, str]) -> bool:
    try:
        os.stat(find_path(name, root, roots))
    except (FileNotFoundError, NotADirectoryError, KeyError):
        return False
    except OSError:
        return True
    return True


def _read(path: str) -> str | None:
    """Read an answer; None where there is none, or only a damaged one."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return None
    digest, _, rest = content.partition(b"\n")
    from onnxbuild.core.digest import digest_bytes

    if digest.decode("ascii", "replace") != digest_bytes(rest):
        return None
    return rest.decode("utf-8", "surrogateescape")


def _write(path: str, content: str) -> None:
    from onnxbuild.core import points
    from onnxbuild.core.digest import digest_bytes

    rest = content.encode("utf-8", "surrogateescape")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        points.at("write", temporary)
        with open(temporary, "xb") as file:
            file.write(digest_bytes(rest).encode() + b"\n" + rest)
        # Not flushed: a torn one is told by its digest, and the answer is found anew.
        points.at("rename", path)
        os.replace(temporary, path)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise


def _line(*fields: str) -> str:
    return "\t".join(map(_escape, fields))


def _escape(text: str) -> str:
    for plain, escaped in _ESCAPES:
        if plain in text:
            text = text.replace(plain, escaped)
    return text


def _unescape(text: str) -> str:
    out: list[str] = []
    pending = False
    for character in text:
        if pending:
            out.append({"t": "\t", "n": "\n", "r": "\r"}.get(character, character))
            pending = False
        elif character == "\\":
            pending = True
        else:
            out.append(character)
    return "".join(out)
