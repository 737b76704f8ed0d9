"""What an exporter's exception says, in the words of who wrote the model.

`known` has the table. What is not in it is told with the first useful lines of the message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pkgutil import iter_modules

from onnxbuild import rules
from onnxbuild.errors import ExportError
from onnxbuild.steps.export.fixed import find_loops
from onnxbuild.steps.export.known import find_known, rules_for, say_known
from onnxbuild.steps.export.places import chain, find_place
from onnxbuild.steps.model.user import describe, user_frames

NOISE = (
    "The error above occurred when calling torch.export",
    "(Refer to the full stack trace",
    "Caused by: (",
    "For extended logs when",
    "If you suspect the guard",
    "For more debugging help",
    "For C++ stack trace",
    "consider using data-dependent friendly APIs",
)
"""Beginnings of lines in torch's messages that help nobody who reads ours."""

PHRASES = (
    r"\s*For more information, run with TORCH_LOGS\S*",
    r"\s*Please feel free to request support or submit a pull request on PyTorch GitHub: \S*",
    r"\s*\[Caused by the value .*",
    r"\s*\(node defined in .*",
)
"""The same, inside lines or up to the end."""

LOOP_HINT = (
    "exporters write a loop out as often as it ran: use nn.LSTM, nn.GRU or operations along the axis; or have"
    " torch.jit.script take the module, which wants the types of arguments that are no tensors; or leave that"
    " size fixed"
)

SHOWN = 5
"""Lines and names that are shown of several."""

LONGEST = 20_000
"""Characters of each message that are looked at: TorchScript prints whole graphs."""


def diagnose(error: BaseException, way: str) -> ExportError:
    """Say why a way cannot export the model: what is wrong, at which line and in which module, and what helps."""
    text = "\n".join(_headline(one) for one in chain(error))
    found = find_known(text)
    if found is None:
        frames = "".join(f"\n  {frame}" for frame in user_frames(error))
        return ExportError(
            f"{way} cannot export the model: {reason(error)}{frames}", where="export"
        )
    known, groups = found
    what, hint = say_known(known, groups)
    place = find_place(error)
    if known.name.endswith(("translation", "followed")) or known.name == "custom operator":
        helpful = rules_for(groups[0], _built_in_rules())
        if helpful:
            hint = f"the rule `{helpful[0]}` replaces it: replace: {{{helpful[0]}: {{}}}}"
    at = f"\n  {place}" if str(place) else ""
    where = "export.opset" if hint.startswith("say `opset") else "export"
    return ExportError(f"{way} cannot export the model: {what}{at}", where=where, hint=hint)


def explain_check(
    error: ExportError,
    find_fixing: Callable[[], Sequence[str]],
    changed: Sequence[str],
    *,
    draws: bool = False,
) -> ExportError:
    """Add to what a check found what may be behind it.

    `find_fixing` gives lines that make numbers of sizes, `changed` are tensors that the model changes when
    it is called; with `draws` it draws random numbers.
    """
    what, hint = error.what, error.hint
    is_of_sizes = error.where.startswith(("dynamic_axes", "dims", "outputs"))
    if is_of_sizes and (fixing := find_fixing()):
        lines = "".join(f"\n  {line}" for line in fixing[:SHOWN])
        what = f"{what}\n  sizes, or other tensors, become numbers here:{lines}"
        hint = LOOP_HINT if find_loops(fixing) else hint
    elif changed and "is not the model" in what:
        what = f"{what}\n  the model changes {', '.join(changed[:SHOWN])} when it is called, and a graph keeps nothing"
        hint = "give what it keeps from call to call as an input and an output; or compute it anew in each call"
    elif draws and "is not the model" in what:
        what = (
            f"{what}\n  the model draws random numbers when it is called, and a graph draws others"
        )
        hint = "give what is random as an input; or draw it once, in __init__"
    else:
        found = find_known(what)
        hint = say_known(*found)[1] if found else hint
    return ExportError(what, where=error.where, hint=hint)


def _built_in_rules() -> list[str]:
    # The registry names them as well, and all else that there is: behind this step is what it runs.
    return [module.name for module in iter_modules(rules.__path__) if module.ispkg]


def _headline(error: BaseException) -> str:
    return f"{type(error).__name__}: {_clean(str(error)[:LONGEST])}"


def _clean(text: str) -> str:
    # It goes into keys: nothing in it may be of this machine or of this run.
    text = re.sub(r"\x1b\[[0-9;]*m", "", text).replace(os.getcwd() + os.sep, "")
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def reason(error: BaseException) -> str:
    """Give the first useful lines of an exporter's message: of what caused it, where it says so itself."""
    deepest = error
    while deepest.__cause__ is not None and str(deepest.__cause__):
        deepest = deepest.__cause__
    text = _clean(describe(deepest))
    for phrase in PHRASES:
        text = re.sub(phrase, "", text, flags=re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not line.strip().startswith(NOISE))
