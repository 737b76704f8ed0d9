"""Remembered answers hold exactly as long as their facts do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onnxbuild.core import answers
from onnxbuild.core.digest import digest_file
from onnxbuild.core.facts import digest_listing, signature

LONG_AGO = 1_600_000_000_000_000_000


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    (root / "a.yaml").write_text("a: 1\n")
    (root / "data").mkdir()
    (root / "data" / "x.txt").write_text("x")
    return root


def facts_of(root):
    return [
        ("file", "./a.yaml", digest_file(str(root / "a.yaml"))),
        ("absent", "./b.yaml", ""),
        ("folder", "./data", ""),
        ("listing", "./data", digest_listing(str(root / "data"))),
    ]


def keep(root, *, signatures=None, facts=None, body="the answer\n", roots=None, ignored=()):
    answers.remember(
        str(root / ".store/answers"),
        "key",
        facts if facts is not None else facts_of(root),
        signatures or {},
        str(root),
        roots or {},
        ignored,
        body,
    )


def ask(root):
    return answers.recall(str(root / ".store/answers"), "key", str(root))


def test_an_answer_holds_while_nothing_changes(project):
    """What was remembered comes back to the letter, blank lines and all."""
    body = "first\n\nsecond\ttab \\ é\n"

    keep(project, body=body)

    assert ask(project) == body
    assert answers.recall(str(project / ".store/answers"), "other", str(project)) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda root: (root / "a.yaml").write_text("a: 2\n"), id="edited"),
        pytest.param(lambda root: (root / "a.yaml").unlink(), id="deleted"),
        pytest.param(lambda root: (root / "b.yaml").write_text(""), id="appeared"),
        pytest.param(lambda root: (root / "data/y.txt").write_text(""), id="listed"),
        pytest.param(lambda root: shutil.rmtree(root / "data"), id="folder-gone"),
    ],
)
def test_an_answer_falls_with_any_of_its_facts(project, change):
    """A file edited, gone or new, or another listing, and there is no answer."""
    keep(project)

    change(project)

    assert ask(project) is None


@pytest.mark.parametrize("other", [("file", "./a.yaml", "b3:other"), ("absent", "./a.yaml", "")])
def test_contradicting_facts_are_no_answer(project, other):
    """What saw a file before and after an edit is true of no state of the project."""
    keep(project, facts=[*facts_of(project), other])

    assert ask(project) is None


def test_a_touched_file_keeps_its_answer(project):
    """Times do not matter where the content is the same."""
    keep(project)

    os.utime(project / "a.yaml", ns=(LONG_AGO, LONG_AGO))

    assert ask(project) == "the answer\n"


def test_a_settled_signature_stands_for_the_content(project, monkeypatch):
    """A file whose signature vouches for it is not read again."""
    path = str(project / "a.yaml")
    seen = signature(os.stat(path))
    monkeypatch.setattr("time.time_ns", lambda: max(seen[1], seen[2]) + 3_000_000_000)
    keep(project, signatures={path: seen})

    facts = [("file", "./a.yaml", "b3:wrong")]
    first = ask(project)
    keep(project, signatures={path: seen}, facts=facts)
    vouched = ask(project)
    keep(project, facts=facts)
    digested = ask(project)

    assert (first, vouched, digested) == ("the answer\n", "the answer\n", None)


def test_a_fresh_signature_does_not_vouch(project):
    """A file changed just now is digested each time, since times are coarse."""
    path = str(project / "a.yaml")

    keep(project, signatures={path: signature(os.stat(path))}, facts=[("file", "./a.yaml", "b3:x")])

    assert ask(project) is None


def test_signatures_are_renewed_once_they_have_settled(project, monkeypatch):
    """An answer that had to digest a file remembers the signature for the next time."""
    path = str(project / "a.yaml")
    keep(project)
    seen = signature(os.stat(path))
    monkeypatch.setattr("time.time_ns", lambda: max(seen[1], seen[2]) + 3_000_000_000)

    found = answers.recall_whole(str(project / ".store/answers"), "key", str(project))
    text = Path(answers.answer_path(str(project / ".store/answers"), "key")).read_text()

    assert found is not None
    assert found[1] == {path: seen}
    assert " ".join(map(str, seen)) in text


def test_a_same_size_edit_with_its_mtime_restored_is_seen(project, monkeypatch):
    """The change time and the digest give it away."""
    path = project / "a.yaml"
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    seen = signature(os.stat(path))
    monkeypatch.setattr("time.time_ns", lambda: max(seen[1], seen[2]) + 3_000_000_000)
    keep(project, signatures={str(path): seen})
    assert ask(project) == "the answer\n"

    path.write_text("a: 9\n")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))

    assert ask(project) is None


def test_an_answer_outlives_a_move_of_the_project(project, tmp_path):
    """Copied elsewhere, store included, it holds; and it is the copy that counts then."""
    keep(project)
    copy = tmp_path / "elsewhere"
    shutil.copytree(project, copy)
    (project / "a.yaml").write_text("changed")

    held = ask(copy)
    (copy / "a.yaml").write_text("changed too")

    assert held == "the answer\n"
    assert ask(copy) is None
    assert ask(project) is None


def test_named_roots_and_ignored_folders_are_part_of_the_answer(project, tmp_path):
    """A file below a named root is found there, and what a listing ignores stays ignored."""
    other = tmp_path / "hub"
    other.mkdir()
    (other / "w.bin").write_text("w")
    ignored = (str(project / "artifacts"),)
    facts = [
        ("file", "$hub/w.bin", digest_file(str(other / "w.bin"))),
        ("listing", ".", digest_listing(str(project), (str(project / ".store"), *ignored))),
    ]
    keep(
        project, facts=facts, roots={"hub": str(other)}, ignored=(str(project / ".store"), *ignored)
    )

    (project / "artifacts").mkdir()
    held = ask(project)
    (other / "w.bin").write_text("v")

    assert held == "the answer\n"
    assert ask(project) is None


def test_packages_and_variables_count(project, monkeypatch):
    """Another version of a package, or another value of a variable, and there is no answer."""
    monkeypatch.setattr("onnxbuild.core.facts._installed", {"hydra-core": "1"})
    monkeypatch.setenv("FLAVOUR", "mint")
    from onnxbuild.core.facts import digest_variable

    facts = [
        ("package", "hydra-core", "1"),
        ("variable", "FLAVOUR", digest_variable("FLAVOUR")),
    ]
    keep(project, facts=facts)
    held = ask(project)
    monkeypatch.setenv("FLAVOUR", "lime")
    other_variable = ask(project)
    monkeypatch.setenv("FLAVOUR", "mint")
    monkeypatch.setattr("onnxbuild.core.facts._installed", {"hydra-core": "2"})

    assert (held, other_variable, ask(project)) == ("the answer\n", None, None)


def test_names_with_tabs_and_newlines_survive(project):
    """A path is any text that the file system takes."""
    odd = project / "a\tb\nc\\t.txt"
    odd.write_text("odd")

    keep(project, facts=[("file", "./a\tb\nc\\t.txt", digest_file(str(odd)))])

    assert ask(project) == "the answer\n"


@pytest.mark.parametrize("position", [0, 10, 80, -1])
def test_a_damaged_answer_is_no_answer(project, position):
    """One flipped byte anywhere, and it is not believed."""
    keep(project)
    path = answers.answer_path(str(project / ".store/answers"), "key")
    content = bytearray(Path(path).read_bytes())
    content[position] ^= 1
    with open(path, "wb") as file:
        file.write(content)

    assert ask(project) is None


def test_an_answer_without_facts_always_holds(project):
    """Nothing observed means nothing can break it."""
    keep(project, facts=[])

    assert ask(project) == "the answer\n"


def test_nothing_is_left_beside_an_answer_that_cannot_be_written(project):
    """A full disk or a folder in the way leaves no temporary file."""
    path = answers.answer_path(str(project / ".store/answers"), "key")
    os.makedirs(path)

    with pytest.raises(OSError, match="directory"):
        keep(project)

    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_recalling_imports_next_to_nothing(project):
    """The fast path pays for neither json, re, pathlib, dataclasses, argparse nor sqlite3."""
    keep(project)
    code = (
        "import sys; from onnxbuild.core import answers\n"
        f"assert answers.recall({str(project / '.store/answers')!r}, 'key', {str(project)!r})\n"
        "print([m for m in ('json','re','pathlib','dataclasses','argparse','sqlite3','yaml') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0]={sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "[]\n"
