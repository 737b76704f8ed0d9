"""Names for content: BLAKE3-256, written ``b3:<64 hex digits>``."""

from __future__ import annotations

import mmap
import os
import struct

from blake3 import blake3

Content = bytes | bytearray | memoryview | mmap.mmap
"""Bytes, wherever they lie."""

PREFIX = "b3:"
SMALL = 1 << 16
"""Files below this size are read; larger ones are mapped."""


def digest_bytes(content: Content) -> str:
    """Digest `content`."""
    return PREFIX + blake3(content).hexdigest()


def digest_file(path: str) -> str:
    """Digest the content of the file at `path`. Raises `OSError` when it cannot be read."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < SMALL:
            return digest_bytes(file.read())
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return digest_bytes(content)


def digest_value(value: object) -> str:
    """Digest a plain value (see `encode`)."""
    return digest_bytes(encode(value))


def encode(value: object) -> bytes:
    """Encode a plain value so that different values never give the same bytes.

    Takes None, bool, int, float, str, bytes, lists or tuples, and mappings with text keys, whose
    order does not count. ``True``, ``1``, ``1.0`` and ``"1"`` differ; every length is framed.
    Raises `TypeError` for anything else.
    """
    out = bytearray()
    _encode(value, out)
    return bytes(out)


def _encode(value: object, out: bytearray) -> None:
    match value:
        case None:
            out += b"N"
        case bool():
            out += b"T" if value else b"F"
        case int():
            _frame(b"i", str(int(value)).encode(), out)
        case float():
            # The bits, so that -0.0, inf and nan have an encoding each.
            out += b"f" + struct.pack(">d", value)
        case str():
            _frame(b"s", value.encode("utf-8", "surrogatepass"), out)
        case bytes():
            _frame(b"b", value, out)
        case list() | tuple():
            out += b"l%d:" % len(value)
            for item in value:
                _encode(item, out)
        case dict():
            out += b"d%d:" % len(value)
            for key in sorted(value, key=_text):
                _encode(key, out)
                _encode(value[key], out)
        case _:
            msg = f"a {type(value).__name__} has no place in a key: {value!r}"
            raise TypeError(msg)


def _text(key: object) -> str:
    if not isinstance(key, str):
        msg = f"keys of a mapping must be text, not {key!r}"
        raise TypeError(msg)
    return key


def _frame(kind: bytes, content: bytes, out: bytearray) -> None:
    out += kind + b"%d:" % len(content) + content
