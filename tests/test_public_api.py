"""What `import onnxbuild` offers."""

from __future__ import annotations

import subprocess
import sys

import onnxbuild


def test_public_names_are_there():
    """Every public name resolves, and there are at most fifteen."""
    assert sorted(onnxbuild.__all__) == dir(onnxbuild)
    assert len(onnxbuild.__all__) <= 15
    assert all(getattr(onnxbuild, name) is not None for name in onnxbuild.__all__)


def test_unknown_name_is_an_attribute_error():
    """A typo is told as Python tells it."""
    assert not hasattr(onnxbuild, "biuld")


def test_version_is_that_of_the_package():
    """pyproject.toml and the module agree."""
    import tomllib

    with open("pyproject.toml", "rb") as file:
        assert tomllib.load(file)["project"]["version"] == onnxbuild.__version__


def test_import_is_light():
    """Importing the package imports nothing of itself."""
    code = "import sys, onnxbuild; print([name for name in sys.modules if name.startswith('onnxbuild.')])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
