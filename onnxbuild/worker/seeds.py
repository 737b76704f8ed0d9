"""Seeds for the libraries that draw numbers: the same in every step, whenever a library is imported.

A forked worker finds numpy and torch loaded, and one that runs in the build's own process may import them
only when user code does. torch then begins with another constant, and numpy with noise.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

SEED = 0
"""What random, numpy and torch are seeded with before user code: a constant of every step."""


@contextmanager
def seeded(threads: int) -> Iterator[None]:
    """Seed what is imported, and what will be while this is open; give torch its number of threads.

    The state of what was imported before is put back afterwards.
    """
    with ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        random.seed(SEED)
        numpy: Any = sys.modules.get("numpy")
        torch: Any = sys.modules.get("torch")
        if numpy is not None:
            stack.callback(numpy.random.set_state, numpy.random.get_state())
            _seed_numpy(numpy, threads)
        if torch is not None:
            stack.callback(torch.random.set_rng_state, torch.random.get_rng_state())
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            _seed_torch(torch, threads)
        finder = _Finder(threads)
        sys.meta_path.insert(0, finder)
        stack.callback(sys.meta_path.remove, finder)
        yield


def _seed_numpy(numpy: Any, _threads: int) -> None:
    numpy.random.seed(SEED)


def _seed_torch(torch: Any, threads: int) -> None:
    # Not `torch.manual_seed`: it takes 3 ms to note the seed for devices that are not there, and
    # those that come into use later start from a constant of their own.
    torch.default_generator.manual_seed(SEED)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(SEED)
    torch.set_num_threads(threads)


SEEDERS = {"numpy": _seed_numpy, "torch": _seed_torch}


class _Finder(MetaPathFinder):
    """Finds nothing itself: has a library seeded when it has been imported."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._busy = False

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the protocol's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Have the other finders find the module, and come back when it is there."""
        if fullname not in SEEDERS or self._busy:
            return None
        self._busy = True
        try:
            spec = find_spec(fullname)
        finally:
            self._busy = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._threads)
        return spec


class _Loader(Loader):
    """Loads as the original does, in whose place it is for as long as that takes."""

    def __init__(self, original: Loader, threads: int) -> None:
        self._original = original
        self._threads = threads

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make the module as the original does."""
        return self._original.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code, and seed it."""
        module.__loader__ = self._original
        if module.__spec__ is not None:
            module.__spec__.loader = self._original
        self._original.exec_module(module)
        SEEDERS[module.__name__](module, self._threads)
