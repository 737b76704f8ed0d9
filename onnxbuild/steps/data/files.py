"""Items from files: an ``.npz`` file, a folder of ``.npz`` files or of ``.npy`` files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np

from onnxbuild.arrays import Array
from onnxbuild.errors import DataError


def read_path(path: str) -> Iterator[dict[str, Array]]:
    """Give the items of what is at `path`.

    In a folder of ``.npz`` files each is an item, in the order of their names. A single ``.npz`` file and
    a folder of ``.npy`` files (named after the inputs) hold all items: along the first axis of each
    array, which stays as a batch of one. Raises `DataError` for anything else.
    """
    if os.path.isdir(path):
        names = sorted(os.listdir(path))
        separate = [os.path.join(path, name) for name in names if name.endswith(".npz")]
        together = [os.path.join(path, name) for name in names if name.endswith(".npy")]
        if bool(separate) == bool(together):
            raise DataError(
                f"the folder {path} holds "
                + ("both .npz and .npy files" if separate else "neither .npz nor .npy files"),
                hint="an .npz file for each item, or one .npy file for each input",
            )
        return (_read_npz(name) for name in separate) if separate else _read_rows(path, together)
    if not os.path.isfile(path):
        raise DataError(f"there is no file or folder {path}", hint="it is relative to the recipe")
    if not path.endswith(".npz"):
        raise DataError(
            f"{path} is no .npz file", hint="numpy.savez(path, image=images) writes one"
        )
    return _split(path, _read_npz(path))


def _read_rows(folder: str, paths: list[str]) -> Iterator[dict[str, Array]]:
    arrays: dict[str, Array] = {}
    for path in paths:
        try:
            # Mapped, so that no more of it is in memory than an item.
            array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise _unreadable(path, error) from error
        arrays[os.path.basename(path).removesuffix(".npy")] = array
    return _split(folder, arrays)


def _read_npz(path: str) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _split(path: str, arrays: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(
            f"the arrays of {path} have different numbers of items: {told}",
            hint="the first axis of each counts items; for items of different shapes write a folder of "
            ".npz files, one for each",
        )
    for index in range(next(iter(lengths.values()), 0)):
        yield {name: array[index : index + 1] for name, array in arrays.items()}


def _unreadable(path: str, error: Exception) -> DataError:
    if any(sign in str(error) for sign in ("Object arrays", "Python objects")):
        return DataError(
            f"{path} holds Python objects, which are not read",
            hint="save arrays of numbers: numpy.asarray(values, dtype=…)",
        )
    if "pickled" in str(error):
        # What numpy supposes of every file that does not begin as its own do.
        return DataError(f"{path} cannot be read: it is no file of numpy's")
    return DataError(f"{path} cannot be read: {error}")
