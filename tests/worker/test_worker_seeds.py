"""Random numbers are the same in every step, whatever was imported when."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.e2e

DRAW = """
{before}
from onnxbuild.worker.seeds import seeded
import sys
with seeded(1):
    import random, numpy, torch
    import inspect
    print(random.random(), numpy.random.rand(), float(torch.rand(1)), torch.get_num_threads())
    assert type(torch.__loader__) is type(numpy.__loader__) is type(torch.__spec__.loader)
    assert "SourceFileLoader" in repr(torch.__loader__)
print(len([finder for finder in sys.meta_path if "seeds" in type(finder).__module__]))
"""


def test_what_is_imported_late_draws_the_same():
    """In a forked worker, in a bare process and where only one library was there."""
    drawn = {
        subprocess.run(
            [sys.executable, "-c", DRAW.format(before=before)],
            capture_output=True, text=True, check=True,
        ).stdout
        for before in ("import numpy, torch", "", "import numpy")
    }  # fmt: skip

    assert len(drawn) == 1
    assert drawn.pop().split()[-2:] == ["1", "0"]
