"""What is said where no part of a model is near enough in half precision."""

from __future__ import annotations

from collections.abc import Sequence

from onnxbuild.errors import StageError
from onnxbuild.stages.float16.spec import Tried


def refuse(tried: Sequence[Tried]) -> StageError:
    """Make the error for a search whose trials have all been too far off."""
    nearest = min((trial.excess for trial in tried if trial.excess > 1), default=0.0)
    return StageError(
        "with any weights in half precision, the numbers are further off than `verify` allows: the nearest trial"
        f" by a factor of {nearest:.3g}",
        hint="allow more under `verify`, or leave the stage out",
    )
