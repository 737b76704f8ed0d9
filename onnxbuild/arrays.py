"""Dicts of arrays in one file: samples, reference outputs, data.

An uncompressed ``.npz`` whose members are named ``000000/<name>.npy``, items in order, all dates the
same: equal arrays give equal bytes, wherever and whenever they are written. numpy has no bfloat16, so
such an array is written as its 16-bit patterns in a member whose name ends in ``.npy.bf16``. An item
without arrays (a model without inputs has such samples) is an empty folder.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import ml_dtypes
import numpy as np
import numpy.typing as npt

from onnxbuild.errors import DataError

Array = npt.NDArray[Any]
"""An array of any type."""

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DATE = (1980, 1, 1, 0, 0, 0)
PLAIN = ".npy"
PATTERNS = ".npy.bf16"
KINDS = "biufcSU"
"""Kinds of types that are kept: truth values, integers, floats, complex numbers, bytes and text."""


class ArraysWriter:
    """Writes items one after the other; holds one array in memory at a time."""

    def __init__(self, path: str) -> None:
        self.count = 0
        """Items written so far."""
        self.size = 0
        """Bytes of the arrays written so far."""
        self._file = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, item: Mapping[str, Array]) -> None:
        """Write the next item. Raises `DataError` for an array of objects or of an unknown type."""
        if not item:
            self._file.writestr(zipfile.ZipInfo(f"{self.count:06d}/", DATE), b"")
        for name, array in item.items():
            self._add(name, array)
        self.count += 1

    def close(self) -> None:
        """Write what makes the file complete. Without it the file cannot be read."""
        self._file.close()

    def _add(self, name: str, array: Array) -> None:
        suffix = PLAIN
        if array.dtype == BFLOAT16:
            array, suffix = array.view(np.uint16), PATTERNS
        if array.dtype.kind not in KINDS:
            raise DataError(
                f"{name!r} of item {self.count} is an array of {array.dtype}, which cannot be kept",
                hint="give numbers, truth values or text of one type and of one length in each row",
            )
        # One layout and byte order, so that equal values give equal bytes.
        array = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        info = zipfile.ZipInfo(f"{self.count:06d}/{name}{suffix}", DATE)
        with self._file.open(info, "w", force_zip64=True) as member:
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
        self.size += array.nbytes


def read_items(path: str) -> Iterator[dict[str, Array]]:
    """Read the items of a file in order, one at a time."""
    with zipfile.ZipFile(path) as file:
        for members in _members(file):
            yield _read(file, members)


def read_item(path: str, index: int) -> dict[str, Array]:
    """Read one item. Raises `IndexError` when there are fewer."""
    with zipfile.ZipFile(path) as file:
        return _read(file, _members(file)[index])


def count_items(path: str) -> int:
    """Count the items of a file without reading them."""
    with zipfile.ZipFile(path) as file:
        return len(_members(file))


def numpy_type(name: str) -> np.dtype[Any]:
    """Give the type that a recipe calls `name`."""
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)


def convert(array: Array, dtype: npt.DTypeLike, *, name: str) -> Array:
    """Give `array` with the type that a model's input has, where no value is lost but to rounding.

    Floats become other floats, whole numbers any type that holds their values. Raises `DataError`, with
    `name` as what it is about, for what would change a value: fractions for an integer input.
    """
    wanted = np.dtype(dtype)
    if array.dtype == wanted:
        return array
    if is_float(wanted) and (is_float(array.dtype) or array.dtype.kind in "biu"):
        return array.astype(wanted)
    if array.dtype.kind not in "biu" or wanted.kind not in "biu":
        raise DataError(
            f"{name} has values of type {array.dtype}, where the model takes {wanted}",
            hint=f"convert it in your code: .astype({str(wanted)!r})",
        )
    converted = array.astype(wanted)
    if not np.array_equal(converted, array):
        raise DataError(
            f"{name} has values from {array.min()} to {array.max()}, which {wanted} cannot hold"
        )
    return converted


def to_array(value: object) -> Array:
    """Turn what user code gives (array, tensor, list, number, text) into an array.

    A torch tensor is recognized without importing torch; it is detached and copied to memory first.
    """
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        tensor: Any = value.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":
            patterns: Array = tensor.contiguous().view(sys.modules["torch"].int16).numpy()
            return patterns.view(BFLOAT16)
        return np.asarray(tensor.resolve_conj().resolve_neg().numpy())
    return np.asarray(value)


def is_float(dtype: np.dtype[Any]) -> bool:
    """Tell whether a type has fractions: bfloat16, too, which numpy does not know for one."""
    return dtype.kind == "f" or dtype == BFLOAT16


def _members(file: zipfile.ZipFile) -> list[list[str]]:
    """Group the names of the members by item."""
    items: dict[int, list[str]] = {}
    for name in file.namelist():
        head, _, rest = name.partition("/")
        members = items.setdefault(int(head), [])
        if rest:
            members.append(name)
    return [items[index] for index in sorted(items)]


def _read(file: zipfile.ZipFile, members: list[str]) -> dict[str, Array]:
    item = {}
    for member in members:
        with file.open(member) as content:
            array: Array = np.lib.format.read_array(content, allow_pickle=False)
        name = member.partition("/")[2]
        if name.endswith(PATTERNS):
            item[name.removesuffix(PATTERNS)] = array.view(BFLOAT16)
        else:
            item[name.removesuffix(PLAIN)] = array
    return item


def find_difference(left: str, right: str) -> str:
    """Say where two files of arrays differ first: item, name, index and values; empty if nowhere."""
    counts = count_items(left), count_items(right)
    for index in range(min(counts)):
        one, other = read_item(left, index), read_item(right, index)
        if list(one) != list(other):
            return (
                f"item {index} has {', '.join(one)} the first time, {', '.join(other)} the second"
            )
        for name, array in one.items():
            found = tell_difference(array, other[name])
            if found:
                return f"item {index}, {name!r}: {found}"
    if counts[0] != counts[1]:
        return f"{counts[0]} items the first time, {counts[1]} the second"
    return ""


def tell_difference(one: Array, other: Array) -> str:
    """Say how two arrays differ: in type or shape, else where first, and by how much; empty if they do not."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return f"{one.dtype} {list(one.shape)} the first time, {other.dtype} {list(other.shape)} the second"
    if one.tobytes() == other.tobytes():
        return ""
    unequal = (one != other) & ~((one != one) & (other != other))  # noqa: PLR0124 - only NaN differs from itself
    if not unequal.any():
        return "the same values in other bits (a zero's sign, or a NaN's)"
    first = tuple(int(axis) for axis in np.argwhere(unequal)[0])
    told = f"{int(unequal.sum())} of {one.size} values differ"
    if is_float(one.dtype) or one.dtype.kind in "iu":
        with np.errstate(all="ignore"):
            distance = np.abs(one[unequal].astype(np.float64) - other[unequal].astype(np.float64))
        told += f", by at most {distance.max():.3g}"
    return f"{told}; the first at {list(first)}: {one[first]} the first time, {other[first]} the second"
