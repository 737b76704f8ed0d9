"""The copy of what steps were seen to read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from onnxbuild.core.digest import digest_bytes
from onnxbuild.engine.copying import copied, temporary_folder
from onnxbuild.engine.setting import Site
from onnxbuild.errors import OnnxbuildError


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A project beside a folder for temporary files."""
    for name in ("project", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    root = str(tmp_path / "project")
    return Site(root=root, ignored=(os.path.join(root, ".onnxbuild"),))


def write(site: Site, name: str, text: str = "text") -> tuple[str, str, str]:
    """Write a file of the project, and give the fact that it was read."""
    path = os.path.join(site.root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return ("file", f"./{name}", digest_bytes(text.encode()))


@contextmanager
def copied_apart(site: Site, facts) -> Iterator[Site]:
    """Copy below a temporary folder."""
    with temporary_folder() as base, copied(site, "artifacts", facts, base) as copy:
        yield copy


def tree(root: str) -> dict[str, str | None]:
    """Give what is below a folder: texts of files, targets of links, None for folders."""
    found: dict[str, str | None] = {}
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, root)
            if os.path.islink(path):
                found[inside] = f"-> {os.readlink(path)}"
            elif os.path.isdir(path):
                found[inside] = None
            else:
                with open(path, encoding="utf-8") as file:
                    found[inside] = file.read()
    return found


def test_only_what_was_read_is_copied(site):
    """Files with their permissions, folders that were looked at, and no file that nobody read."""
    facts = [write(site, "a/b.py", "code"), ("folder", "./empty", ""), ("absent", "./a/c.py", "")]
    write(site, "a/secret.txt")
    os.chmod(os.path.join(site.root, "a/b.py"), 0o755)

    with copied_apart(site, facts) as copy:
        found = tree(copy.root)
        mode = os.stat(os.path.join(copy.root, "a/b.py")).st_mode & 0o777

    assert found == {"a": None, "a/b.py": "code", "empty": None}
    assert mode == 0o755
    assert copy.root.count("/") > site.root.count("/")
    assert copy.ignored == tuple(
        os.path.join(copy.root, name) for name in (".onnxbuild", "artifacts")
    )


def test_a_folder_that_was_listed_lists_the_same(site):
    """Names that nobody read are there, as long as they were and empty; the store is not."""
    facts = [write(site, "data/a.txt", "read"), ("listing", "./data", ""), ("listing", ".", "")]
    write(site, "data/b.txt", "unread")
    write(site, "data/deep/c.txt")
    write(site, ".onnxbuild/blob")

    with copied_apart(site, facts) as copy:
        found = tree(copy.root)

    assert found == {"data": None, "data/a.txt": "read", "data/b.txt": "\0" * 6, "data/deep": None}


def test_links_lead_to_the_copy_and_never_to_the_original(site, tmp_path):
    """A link within the project points to its copy; one that leads out of it points where it did."""
    facts = [write(site, "real/a.txt"), ("link", "./in", ""), ("link", "./out", "")]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.txt").write_text("other")
    os.symlink(os.path.join(site.root, "real"), os.path.join(site.root, "in"))
    os.symlink("../elsewhere", os.path.join(site.root, "out"))
    facts += [("file", "./in/a.txt", facts[0][2]), ("file", "./out/b.txt", digest_bytes(b"other"))]

    with copied_apart(site, facts) as copy:
        found = tree(copy.root)
        reached = Path(copy.root, "out", "b.txt").read_text()

    assert found["in"] == f"-> {copy.root}/real"
    assert found["real/a.txt"] == "text"
    assert reached == "other"
    assert os.listdir(tmp_path / "elsewhere") == ["b.txt"]


def test_what_is_outside_is_reached_by_the_same_path(site, tmp_path):
    """A recipe that names ``../shared.txt`` finds it; the folders that the project is in stay out of it."""
    (tmp_path / "shared.txt").write_text("shared")
    (tmp_path / "named").mkdir()
    site = replace(site, roots={"named": str(tmp_path / "named")})
    facts = [("file", str(tmp_path / "shared.txt"), ""), ("listing", str(tmp_path), "")]
    facts.append(("folder", "$named", ""))

    with copied_apart(site, facts) as copy:
        text = Path(copy.root, "..", "shared.txt").read_text()
        beside = sorted(os.listdir(os.path.dirname(copy.root)))

    assert text == "shared"
    assert beside == ["named", "project", "shared.txt"]
    assert copy.roots == site.roots


def test_nothing_is_left(site, tmp_path):
    """The copy goes with its use, however that ends; a file that has changed meanwhile is told."""
    fact = write(site, "a.txt", "one")

    with pytest.raises(ZeroDivisionError), copied_apart(site, [fact]):
        raise ZeroDivisionError
    write(site, "a.txt", "two")
    with pytest.raises(OnnxbuildError, match="changed since a step read it") as caught, \
            copied_apart(site, [fact]):  # fmt: skip
        pass

    assert caught.value.where == os.path.join(site.root, "a.txt")
    assert os.listdir(tmp_path / "temporary") == []


def test_a_disk_without_room_is_told(site, monkeypatch):
    """What to do is said."""
    fact = write(site, "a.txt")
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", os.path.dirname(site.root))

    def refuse(*_):
        raise OSError(28, "No space left on device", "/there")

    monkeypatch.setattr("onnxbuild.engine.copying.clone", refuse)
    with pytest.raises(OnnxbuildError, match="No space left") as caught, \
            copied_apart(site, [fact]):  # fmt: skip
        pass

    assert "needs room for what the steps read" in caught.value.hint
