"""Names of callables."""

from __future__ import annotations

import sys

import pytest

from onnxbuild import entries
from onnxbuild.errors import StepError


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_a_file_finds_its_neighbours(project):
    """A file is imported with its folder first on the path."""
    (project / "entry_a.py").write_text("from entry_b import answer\ndef build(): return answer\n")
    (project / "entry_b.py").write_text("answer = 42\n")

    assert entries.load("entry_a.py:build")() == 42


def test_a_file_in_a_package_has_its_dotted_name(project):
    """The first folder upwards without __init__.py goes on the path, and relative imports work."""
    (project / "pack_x" / "inner").mkdir(parents=True)
    (project / "pack_x" / "__init__.py").write_text("")
    (project / "pack_x" / "inner" / "__init__.py").write_text("")
    (project / "pack_x" / "base.py").write_text("value = 7\n")
    (project / "pack_x" / "inner" / "net.py").write_text(
        "from ..base import value\nclass Net: size = value\n"
    )

    found = entries.load("pack_x/inner/net.py:Net")

    assert (found.__module__, found.size) == ("pack_x.inner.net", 7)
    assert entries.load("pack_x.inner.net:Net.size") == 7


def test_dotted_paths_of_packages():
    """Modules, and what is in them, can be named with dots alone."""
    assert entries.load("json.decoder.JSONDecoder") is entries.load("json.decoder:JSONDecoder")


@pytest.mark.parametrize(
    ("entry", "message", "hint"),
    [
        ("entry_a.py:biuld", "entry_a has no 'biuld'", "did you mean 'build'?"),
        ("entry_c.py:build", "there is no file entry_c.py", "did you mean 'entry_a.py'?"),
        (
            "nowhere/x.py:build",
            "there is no file nowhere/x.py",
            "there is no folder nowhere either",
        ),
        ("no_such_package:build", "there is no module 'no_such_package'", "install the package"),
        ("json.JSONDecodr", "json has no 'JSONDecodr'", "did you mean 'JSONDecode"),
        ("build", "'build' names no callable", "path/file.py:name"),
        ("json.py:load", "cannot be imported as 'json'", "rename the file"),
    ],
)
def test_a_wrong_name_is_said_with_the_nearest(project, entry, message, hint):
    """What is missing is named, and what was probably meant."""
    (project / "entry_a.py").write_text("def build(): pass\n")
    (project / "json.py").write_text("def load(): pass\n")

    with pytest.raises(StepError) as caught:
        entries.load(entry)

    assert message in caught.value.what
    assert hint in caught.value.hint


def test_what_user_code_raises_is_passed_on(project):
    """An error while the user's file is imported is the user's, module errors included."""
    (project / "entry_bad.py").write_text("import module_that_is_missing\n")
    (project / "entry_odd.py").write_text("1 / 0\n")

    with pytest.raises(ModuleNotFoundError, match="module_that_is_missing"):
        entries.load("entry_bad.py:build")
    with pytest.raises(ZeroDivisionError):
        entries.load("entry_odd:build")
