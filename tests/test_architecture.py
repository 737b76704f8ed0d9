"""The architecture is a test: imports go down, and planning stays light."""

from __future__ import annotations

import os
import subprocess
import sys


def test_import_contracts():
    """The contracts in pyproject.toml hold; run `lint-imports` to see a broken one drawn."""
    command = os.path.join(os.path.dirname(sys.executable), "lint-imports")

    done = subprocess.run([command, "--no-cache"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
