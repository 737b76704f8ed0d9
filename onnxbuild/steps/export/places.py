"""Where in a model something happened: the source line and the path of the module, from what the exporters leave."""

from __future__ import annotations

import linecache
import os
import re
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from onnxbuild.steps.model.user import OWN

LINE = re.compile(r'File "([^"]+)", line (\d+), in (\S+)\n?\s*([^\n]*)')
"""A line of a stack as Python writes it."""

SCRIPT_LINE = re.compile(r"^(\S+)\((\d+)\): (\S+)", re.MULTILINE)
"""The same as TorchScript writes it, innermost first."""

PACKAGES = f"{os.sep}site-packages{os.sep}"
TORCH = os.path.dirname(torch.__file__) + os.sep
STANDARD = str(sysconfig.get_path("stdlib")) + os.sep


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a model's source, and the module that ran it."""

    line: str = ""
    """``file:line in function: code``."""

    module: str = ""
    """The way to the module: ``encoder.layers.3``."""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.line, self.module and f"(module {self.module})")))


def find_place(error: BaseException) -> Place:
    """Give the innermost line of the model behind an exporter's exception, and its module where that is known."""
    for one in chain(error):
        for frame, _ in traceback.walk_tb(one.__traceback__):
            node = frame.f_locals.get("node")
            if isinstance(node, torch.fx.Node):
                return place_of(node)
            if isinstance(node, torch._C.Node):
                return _place_of_traced(node)
    for one in chain(error):
        stack = traceback.extract_tb(one.__traceback__)
        lines = innermost((f.filename, f.lineno, f.name, f.line or "") for f in stack)
        if lines:
            return Place(lines)
    return Place(innermost(LINE.findall(str(error))))


def place_of(node: torch.fx.Node) -> Place:
    """Give the place of a node of a captured program."""
    stack = str(node.meta.get("stack_trace") or "")
    modules = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    return Place(innermost(LINE.findall(stack)), modules[-1] if modules else "")


def _place_of_traced(node: Any) -> Place:
    found = [
        (file, line, function, "")
        for file, line, function in SCRIPT_LINE.findall(node.sourceRange())
    ]
    scopes = [part.rpartition("::")[2] for part in node.scopeName().split("/")]
    return Place(innermost(reversed(found)), next(filter(None, reversed(scopes)), ""))


def innermost(frames: Iterable[tuple[str, Any, str, str]]) -> str:
    """Write the innermost of the frames that are of a model: the user's own, else of a library that is not torch."""
    own, other = "", ""
    for file, line, function, code in frames:
        if not is_of_model(file):
            continue
        said = (code or linecache.getline(file, int(line))).strip()
        text = f"{shorten(file)}:{line} in {function}" + (f": {said}" if said else "")
        if PACKAGES in file:
            other = text
        else:
            own = text
    return own or other


def is_of_model(file: str) -> bool:
    """Tell whether a file may be a model's: neither Python's, nor torch's, nor ours."""
    if file.startswith(("<", OWN + os.sep, TORCH)):
        return False
    return PACKAGES in file or not file.startswith(STANDARD)


def shorten(file: str) -> str:
    """Name a file without the folders that are this machine's affair."""
    return file.rpartition(PACKAGES)[2].removeprefix(os.getcwd() + os.sep)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Give an exception and what it came from, the deepest first."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    yield from reversed(found)
