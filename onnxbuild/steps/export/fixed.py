"""Which line of a model makes a constant of a size that was to stay open."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from warnings import WarningMessage

from onnxbuild.steps.export.decisions import WARNS
from onnxbuild.steps.export.places import innermost, is_of_model

LOGGER = "torch.fx.experimental.symbolic_shapes"
"""Says, at the level INFO and as it happens, that a size has become a number."""


LOOP = re.compile(r"^(.*):(\d+) in \w+: (?:for|while)\b")
"""Of a line of the model as it is shown, where a loop begins there: its file and number."""


def find_loops(lines: Iterable[str]) -> tuple[str, ...]:
    """Give those among ``file:line in function: code`` at which a loop begins."""
    return tuple(line for line in lines if LOOP.match(line))


class _Listener(logging.Handler):
    """Notes at which line a size became which number. A handler runs on the stack of what it hears of."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.found: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        arguments: Any = record.args
        if not str(record.msg).startswith("set_replacement") or not isinstance(arguments, tuple):
            return
        number = str(arguments[1])
        if number.isdigit():
            frames = traceback.extract_stack()
            line = innermost((f.filename, f.lineno, f.name, f.line or "") for f in frames)
            if line:
                self.found.setdefault(int(number), line)


@contextmanager
def heard_fixing() -> Iterator[Mapping[int, str]]:
    """Give, by the number that a size became, the line of the model at which it did."""
    logger, listener = logging.getLogger(LOGGER), _Listener()
    before = logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield listener.found
    finally:
        logger.removeHandler(listener)
        logger.propagate = before[1]
        logger.setLevel(before[0])


def converted_sizes(warned: Iterable[WarningMessage]) -> list[str]:
    """Give the lines of the model at which a trace made Python's numbers of sizes, or of other tensors."""
    lines = [
        innermost([(warning.filename, warning.lineno, "forward", "")])
        for warning in warned
        if str(warning.message).startswith(WARNS) and is_of_model(warning.filename)
    ]
    return list(dict.fromkeys(filter(None, lines)))
