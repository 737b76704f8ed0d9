"""The one switch of a process: which record, if any, the hooks tell what they see.

Hooks are put in once and stay: Python cannot take an audit hook back. They cost next to nothing
while no record is set.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxbuild.observe.record import Record


class State(threading.local):
    """What a thread is doing."""

    busy = False
    """It observes right now: what that itself opens is nobody's business."""

    dir_fd: int | None = None
    """The folder that the path of the next ``open`` event is relative to."""


state = State()
current: Record | None = None

libraries: set[str] = set()
"""Files of code that is not the project's, as far as the present record has met them: their imports are
nobody's business, and there are ten thousands of them."""


def tell(see: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Call ``see(record, *args)`` if a record is set. Never raises into the code that is observed."""
    record = current
    if record is None or state.busy or sys.is_finalizing():
        return
    state.busy = True
    try:
        see(record, *args, **kwargs)
    except Exception as error:  # noqa: BLE001  a record that may lack something says so
        record.lose(f"{type(error).__name__}: {error}")
    finally:
        state.busy = False


def is_on() -> bool:
    """Tell whether what this thread does is observed."""
    return current is not None and not state.busy
