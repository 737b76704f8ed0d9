"""The default configs travel with the package."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import onnxbuild

REPOSITORY = Path(onnxbuild.__file__).parent.parent

DEFAULTS = {
    "env/local.yaml", "env/ci.yaml", "env/edge.yaml", "executor/process.yaml", "executor/inline.yaml",
    "store/local.yaml",
}  # fmt: skip


def test_a_wheel_carries_the_default_configs(tmp_path):
    """What `pip install` puts in place has environments, executors and stores to choose from."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("onnxbuild", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, source / name, symlinks=True, ignore=ignored)
    shutil.copy(REPOSITORY / "pyproject.toml", source)
    (source / "README.md").touch()

    build = "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build, str(tmp_path)],
        cwd=source,
        capture_output=True,
        check=True,
    )

    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"onnxbuild/_configs/{name}" for name in DEFAULTS} <= names


def test_a_checkout_finds_the_default_configs():
    """The same files, in the repository's own configs/."""
    packaged = REPOSITORY / "onnxbuild" / "_configs"

    assert {str(path.relative_to(packaged)) for path in packaged.rglob("*.yaml")} == DEFAULTS
