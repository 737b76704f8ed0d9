"""Facts: what is noted of files, packages and variables, and whether it still holds."""

from __future__ import annotations

import os

import pytest

from onnxbuild.core import facts
from onnxbuild.core.digest import digest_bytes


@pytest.fixture
def root(tmp_path):
    (tmp_path / "file").write_text("one")
    (tmp_path / "folder").mkdir()
    return str(tmp_path)


def now(kind, name, root, known=None, ignored=()):
    return facts.now(kind, name, root, {}, {} if known is None else known, ignored)


def test_names_are_relative_to_root_and_roots():
    """A moved project has the same names."""
    roots = {"hf": "/models/hf"}

    names = [
        facts.name_path(path, "/home/me/project", roots)
        for path in (
            "/home/me/project",
            "/home/me/project/a/b",
            "/models/hf/x",
            "/etc/x",
            "/home/me/project2/x",
        )
    ]

    assert names == [".", "./a/b", "$hf/x", "/etc/x", "/home/me/project2/x"]
    assert facts.find_path("$hf/x", "/r", roots) == "/models/hf/x"


def test_file_facts_follow_content(root):
    """The value is the content's digest, whatever the times are; a file that is gone is absent."""
    before = now("file", "./file", root)
    os.utime(os.path.join(root, "file"), ns=(0, 0))
    touched = now("file", "./file", root)
    os.unlink(os.path.join(root, "file"))

    assert before == touched == ("file", digest_bytes(b"one"))
    assert now("file", "./file", root) == ("absent", "")


def test_same_size_edit_with_restored_time_is_seen(root):
    """The time of the last change of the inode cannot be set back."""
    path = os.path.join(root, "file")
    os.utime(path, ns=(10**18, 10**18))
    seen = facts.signature(os.stat(path))
    known = {path: (seen, digest_bytes(b"one"))}

    with open(path, "w", encoding="utf-8") as file:
        file.write("two")
    os.utime(path, ns=(10**18, 10**18))

    assert now("file", "./file", root, known) == ("file", digest_bytes(b"two"))


def test_young_signatures_are_not_remembered(root):
    """A file that was just written could change again within the same tick of the clock."""
    known = {}

    now("file", "./file", root, known)

    assert known == {}
    assert facts.is_settled((3, 10, 10, 1), at_ns=10 + facts.SETTLED)
    assert not facts.is_settled((3, 10, 11, 1), at_ns=10 + facts.SETTLED)


def test_listing_follows_names_and_kinds_only(root):
    """Another file changes it, other content does not; caches and ignored folders never do."""
    before = now("listing", ".", root)
    with open(os.path.join(root, "file"), "w", encoding="utf-8") as file:
        file.write("changed")
    os.mkdir(os.path.join(root, "__pycache__"))
    os.mkdir(os.path.join(root, "artifacts"))
    same = now("listing", ".", root, ignored=(os.path.join(root, "artifacts"),))
    os.rename(os.path.join(root, "file"), os.path.join(root, "other"))

    assert before == same
    assert now("listing", ".", root) != before


def test_kinds_tell_files_from_folders(root):
    """A folder where a file was, and the other way round, breaks the fact."""
    assert now("folder", "./folder", root) == ("folder", "")
    assert now("file", "./folder", root) == ("folder", "")
    assert now("absent", "./file", root)[0] == "file"
    assert now("absent", "./file/below", root) == ("absent", "")


def test_variables_are_digested_never_written(monkeypatch, root):
    """A secret does not reach the store; unset and empty differ."""
    monkeypatch.setenv("TOKEN", "secret")
    held = now("variable", "TOKEN", root)
    monkeypatch.setenv("TOKEN", "")
    empty = now("variable", "TOKEN", root)
    monkeypatch.delenv("TOKEN")

    assert held == ("variable", digest_bytes(b"secret"))
    assert len({held, empty, now("variable", "TOKEN", root)}) == 3


def test_packages_have_their_version(root):
    """The version is what `importlib.metadata` says, without importing it."""
    from importlib.metadata import version

    assert now("package", "pyyaml", root) == ("package", version("PyYAML"))
    assert now("package", "no-such-package", root) == ("package", "")
    assert f"hydra-core=={version('hydra-core')}" in now("prefix", "hydra", root)[1]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("PyYAML", "pyyaml"),
        ("onnx_ir", "onnx-ir"),
        ("zope.interface", "zope-interface"),
        ("a__b", "a-b"),
    ],
)
def test_distribution_names_are_normalized(given, expected):
    """One distribution has one name."""
    assert facts.normalize(given) == expected


def test_first_broken_names_the_fact_and_what_holds(root):
    """The first fact that no longer holds is given, with what does."""
    good = ("folder", "./folder", "")
    bad = ("file", "./file", digest_bytes(b"old"))

    assert facts.first_broken([good], root, {}, {}) is None
    assert facts.first_broken([good, bad], root, {}, {}) == (bad, ("file", digest_bytes(b"one")))


def test_unknown_root_is_absent(root):
    """A named root that the recipe no longer has holds nothing."""
    assert now("file", "$gone/x", root) == ("absent", "")
