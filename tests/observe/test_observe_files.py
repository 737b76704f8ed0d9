import glob
import os
import pathlib
import pickle
import shutil
import sqlite3
import tempfile
import threading

import pytest

from onnxbuild.core.digest import digest_bytes
from onnxbuild.observe.observer import Observer
from onnxbuild.observe.scope import sites


def read(path):
    with open(path, "rb") as file:
        return file.read()


def dump(path, content=b"new"):
    with open(path, "wb") as file:
        file.write(content)


def test_a_file_that_is_opened_counts_by_its_content(project):
    """Editing a file that was read is noticed; touching it is not."""
    path = project.write("data.txt", "one\n")

    seen = project.observe(lambda: read("data.txt"))

    assert ("file", "./data.txt", digest_bytes(b"one\n")) in seen.facts
    os.utime(path, (1, 1))
    assert seen.broken() is None
    project.write("data.txt", "two\n")
    assert seen.broken() is not None


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(os.path.exists, id="exists"),
        pytest.param(os.path.isfile, id="isfile"),
        pytest.param(os.path.lexists, id="lexists"),
        pytest.param(lambda path: os.access(path, os.R_OK), id="access"),
        pytest.param(lambda path: pathlib.Path(path).exists(), id="pathlib"),
        pytest.param(lambda path: os.path.exists(os.fsencode(path)), id="bytes"),
        pytest.param(lambda path: os.path.exists(pathlib.Path(path)), id="pathlike"),
        pytest.param(lambda path: os.path.exists(os.path.abspath(path)), id="absolute"),
        pytest.param(glob.glob, id="glob without magic"),
    ],
)
def test_a_file_that_was_looked_for_in_vain_is_noticed_when_it_appears(project, look):
    """What is missing is observed, however it was looked for."""
    seen = project.observe(lambda: look("missing.txt"))

    assert seen.kinds("./missing.txt") == {"absent"}
    project.write("missing.txt")
    assert seen.broken() is not None


def test_opening_a_missing_file_observes_that_it_is_missing(project):
    """A caught FileNotFoundError is a dependency."""

    def attempt():
        with pytest.raises(FileNotFoundError):
            read("missing.txt")

    seen = project.observe(attempt)

    assert seen.kinds("./missing.txt") == {"absent"}


def test_a_stat_observes_content_and_a_folder_that_it_is_one(project):
    """`os.path.getsize` depends on a file; a stat of a folder does not depend on what is in it."""
    project.write("data/a.bin")

    seen = project.observe(lambda: (os.path.getsize("data/a.bin"), os.path.isdir("data")))

    assert seen.kinds("./data/a.bin") == {"file"}
    assert seen.kinds("./data") == {"folder"}
    project.write("data/b.bin")
    assert seen.broken() is None


def test_folders_above_the_root_are_nothing(project):
    """`realpath` looks at every folder above, which says nothing."""
    project.write("a.txt")

    seen = project.observe(lambda: os.path.realpath("a.txt"))

    assert seen.names("folder") <= {"."}
    assert not seen.names("machine")


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(lambda: os.listdir("data"), id="listdir"),
        pytest.param(lambda: glob.glob("data/*.txt"), id="glob"),
        pytest.param(lambda: list(pathlib.Path("data").iterdir()), id="pathlib"),
        pytest.param(lambda: list(os.walk("data")), id="walk"),
        pytest.param(lambda: list(os.scandir(b"data")), id="scandir of bytes"),
    ],
)
def test_listing_a_folder_depends_on_the_names_in_it(project, look):
    """A file that is added where a step listed is noticed, an edit of one that it did not open is not."""
    project.write("data/a.txt")

    seen = project.observe(look)

    assert "listing" in seen.kinds("./data")
    project.write("data/a.txt", "edited")
    assert seen.broken() is None
    project.write("data/b.txt")
    assert seen.broken() is not None


def test_an_entry_of_scandir_that_is_asked_for_its_size_counts(project):
    """Entries say when they are asked; they pass for what they stand for."""
    project.write("data/a.txt")
    project.write("data/b.txt")

    def look():
        with os.scandir("data") as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                assert isinstance(entry, os.DirEntry)
                assert os.fspath(entry) == entry.path
                assert entry.is_file()
                if entry.name == "a.txt":
                    entry.stat()

    seen = project.observe(look)

    assert seen.kinds("./data/a.txt") == {"file"}
    assert seen.kinds("./data/b.txt") == set()


def test_what_the_step_wrote_is_not_observed(project):
    """Neither a file written and read back, nor one first looked for in vain, nor what is in a new folder."""

    def work():
        dump("out.bin")
        read("out.bin")
        if not os.path.exists("cache.bin"):
            dump("cache.bin")
        read("cache.bin")
        os.makedirs("made/deep")
        dump("made/deep/x")
        read("made/deep/x")
        os.listdir("made")

    seen = project.observe(work)

    for name in ("out.bin", "cache.bin", "made", "made/deep", "made/deep/x"):
        assert seen.kinds(f"./{name}") == set(), name
    assert seen.changed == ()


def test_a_file_read_first_and_overwritten_keeps_its_first_digest(project):
    """The step depended on what it read; that it changed it itself is no change from outside."""
    project.write("state.txt", "before")

    seen = project.observe(lambda: (read("state.txt"), dump("state.txt"), read("state.txt")))

    assert ("file", "./state.txt", digest_bytes(b"before")) in seen.facts
    assert seen.changed == ()


def test_opening_to_update_reads_first(project):
    """`r+` depends on what was there."""
    project.write("state.txt", "before")

    def update():
        with open("state.txt", "r+", encoding="utf-8") as file:
            file.read()
            file.write("after")

    seen = project.observe(update)

    assert ("file", "./state.txt", digest_bytes(b"before")) in seen.facts
    assert seen.changed == ()


def test_a_temporary_file_beside_the_project_hides_nothing(project):
    """`tempfile` opens the folder as if it were to be written; the folder's files still count."""
    project.write("a.txt")

    def work():
        with tempfile.NamedTemporaryFile(dir=".") as file:
            file.write(b"x")
        os.makedirs("sub", exist_ok=True)
        read("a.txt")
        read("sub/b.txt")

    project.write("sub/b.txt")
    seen = project.observe(work)

    assert seen.kinds("./a.txt") == {"file"}
    assert seen.kinds("./sub/b.txt") == {"file"}
    assert not [name for name in seen.names("file") if "tmp" in name]


def test_what_is_renamed_into_place_is_the_steps_own(project):
    """Written to a temporary name and renamed: nothing is observed, the missing target neither."""

    def work():
        assert not os.path.exists("out.bin")
        dump("out.tmp")
        os.replace("out.tmp", "out.bin")
        read("out.bin")

    seen = project.observe(work)

    assert seen.kinds("./out.bin") == set()
    assert seen.kinds("./out.tmp") == set()
    assert seen.changed == ()


def test_renaming_the_projects_file_depends_on_it(project):
    """What is moved was read, in effect."""
    project.write("a.txt", "one")

    seen = project.observe(lambda: os.rename("a.txt", "b.txt"))

    assert ("file", "./a.txt", digest_bytes(b"one")) in seen.facts
    assert seen.kinds("./b.txt") == set()
    assert seen.changed == ()


def test_own_files_in_a_listed_folder_are_no_news_the_next_time(project):
    """A step that lists a folder and writes into it is up to date afterwards; another's file is noticed."""
    project.write("data/a.txt")

    seen = project.observe(lambda: (os.listdir("data"), dump("data/out.bin")))

    assert seen.changed == ()
    assert seen.broken() is None
    project.write("data/b.txt")
    assert seen.broken() is not None


@pytest.mark.parametrize("follow", [True, False])
def test_copy2_still_copies(project, follow):
    """The wrapped functions are where `shutil` looks for what they support."""
    project.write("a.txt", "one")
    os.symlink("a.txt", "link")

    seen = project.observe(lambda: shutil.copy2("link", "copy", follow_symlinks=follow))

    assert os.path.islink("copy") is not follow
    assert seen.kinds("./copy") == set()
    assert ("file" if follow else "link") in seen.kinds("./link")


def test_the_wrapped_functions_stand_for_the_originals(project):
    """They are in the sets that tell what is supported, pickle by name, and bind to no instance."""

    class Holder:
        stat = os.stat

    def look():
        assert os.stat in os.supports_dir_fd
        assert os.stat in os.supports_follow_symlinks
        assert os.stat in os.supports_fd
        assert os.scandir in os.supports_fd
        assert os.access in os.supports_effective_ids
        assert os.open in os.supports_dir_fd
        assert pickle.loads(pickle.dumps(os.stat)) is os.stat
        Holder().stat("a.txt")
        with pytest.raises(TypeError):
            os.stat(None)
        with pytest.raises(ValueError, match="null"):
            os.stat("a\0b")
        assert not os.path.exists("a\0b")

    project.write("a.txt")

    assert project.observe(look).kinds("./a.txt") == {"file"}


def test_paths_relative_to_an_open_folder(project):
    """`dir_fd`, and folders by descriptor, are resolved."""
    project.write("data/a.txt")
    project.write("data/b.txt")

    def look():
        folder = os.open("data", os.O_RDONLY)
        try:
            os.close(os.open("a.txt", os.O_RDONLY, dir_fd=folder))
            os.stat("b.txt", dir_fd=folder)
            with pytest.raises(FileNotFoundError):
                os.stat("c.txt", dir_fd=folder)
            os.listdir(folder)
            os.close(os.open("new.txt", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
            os.unlink("new.txt", dir_fd=folder)
        finally:
            os.close(folder)

    seen = project.observe(look)

    assert seen.kinds("./data/a.txt") == {"file"}
    assert seen.kinds("./data/b.txt") == {"file"}
    assert seen.kinds("./data/c.txt") == {"absent"}
    assert "listing" in seen.kinds("./data")
    assert seen.kinds("./data/new.txt") == set()
    assert seen.kinds("./a.txt") == set()


def test_relative_paths_after_chdir(project):
    """They are relative to the folder of the moment, and ``..`` is resolved."""
    project.write("data/a.txt")
    project.write("b.txt")

    def look():
        os.chdir("data")
        read("a.txt")
        read("../b.txt")
        read(os.path.join("..", "data", "..", "data", ".", "a.txt"))
        os.chdir("..")

    seen = project.observe(look)

    assert seen.names("file") == {"./data/a.txt", "./b.txt"}


def test_a_link_inside_the_project_counts_by_what_is_behind_it(project, tmp_path):
    """Read through a link, into the root or out of it: the content counts, under the link's name."""
    project.write("weights/v1.bin", "one")
    outside = tmp_path / "outside.bin"
    outside.write_text("far")
    os.symlink("weights/v1.bin", "current")
    os.symlink(outside, "far")

    seen = project.observe(lambda: (read("current"), read("far")))

    assert ("file", "./current", digest_bytes(b"one")) in seen.facts
    assert ("file", "./far", digest_bytes(b"far")) in seen.facts
    assert not seen.names("machine")
    project.write("weights/v2.bin", "two")
    os.remove("current")
    os.symlink("weights/v2.bin", "current")
    assert seen.broken() is not None


def test_where_a_link_points_counts_when_it_is_asked(project):
    """`readlink` sees the target's name, not its content."""
    project.write("v1/a", "same")
    project.write("v2/a", "same")
    os.symlink("v1", "current")

    seen = project.observe(lambda: os.readlink("current"))

    assert seen.kinds("./current") == {"link"}
    os.remove("current")
    os.symlink("v2", "current")
    assert seen.broken() is not None


def test_the_project_by_another_name_is_the_project(project, tmp_path):
    """A link from outside into the root, or a root that is itself a link, gives relative facts."""
    project.write("a.txt")
    os.symlink(project.root, tmp_path / "other")

    seen = project.observe(lambda: read(tmp_path / "other" / "a.txt"))

    assert seen.names("file") == {"./a.txt"}
    project.root = str(tmp_path / "other")
    seen = project.observe(lambda: read(os.path.realpath("a.txt")))
    assert seen.names("file") == {"./a.txt"}


def test_files_outside_are_good_on_this_machine_only(project, tmp_path):
    """They are recorded absolutely, with the machine; below a named root they are relative to that."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.bin").write_text("x")

    seen = project.observe(lambda: read(outside / "a.bin"))
    named = project.observe(lambda: read(outside / "a.bin"), roots={"hub": str(outside)})

    assert str(outside / "a.bin") in seen.names("file")
    assert seen.names("machine") == {"id"}
    assert named.names("file") == {"$hub/a.bin"}
    assert not named.names("machine")


def test_named_folders_are_not_observed(project):
    """The store, artifacts, ``.git``, ``__pycache__`` and a ``.venv`` inside a project below /tmp."""
    for name in (
        ".onnxbuild/a",
        "artifacts/a",
        ".git/HEAD",
        "pkg/__pycache__/a.pyc",
        ".venv/lib/a.py",
    ):
        project.write(name)

    def look():
        for path in glob.glob("**", recursive=True, include_hidden=True):
            if os.path.isfile(path):
                read(path)

    seen = project.observe(look, ignored=(project.path(".onnxbuild"), project.path("artifacts")))

    assert seen.names("file") == set()
    assert seen.names("listing") == {".", "./pkg"}


def test_the_system_is_not_observed(project):
    """Devices, processes, and what came with the machine, as libraries probe it."""
    seen = project.observe(
        lambda: (
            read("/proc/self/status"),
            eval(compile("open('/etc/hosts').close()", f"{sites()[0]}/probe.py", "eval")),
            os.path.exists("/etc/nothing-here"),
            os.path.exists("/usr/share/zoneinfo"),
            os.path.exists(tempfile.__file__),
        )
    )

    assert seen.facts == []


def test_a_file_that_changes_meanwhile_is_reported(project):
    """Also when it keeps its size and gets its time back, and a file that somebody adds."""
    path = project.write("a.txt", "one")
    project.write("b.txt", "one")
    status = os.stat(path)

    def work():
        read("a.txt")
        read("b.txt")
        os.path.exists("late.txt")
        change = (
            f"printf two > {path}; touch {project.path('late.txt')}; touch {project.path('b.txt')}"
        )
        os.system(change)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    seen = project.observe(work)

    assert seen.changed == ("./a.txt", "./late.txt")


def test_signatures_are_of_the_digested_content(project):
    """Whoever keeps them may skip the next reading of the same file."""
    path = project.write("a.txt")
    observer = Observer(root=project.root, roots={}, ignored=(), log=None)
    status = os.stat(path)

    observer.start()
    read("a.txt")
    observed = observer.stop()

    expected = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    assert observed.signatures == {path: expected}


def test_threads_are_observed(project):
    """Each file once, whoever reads it."""
    for number in range(20):
        project.write(f"data/{number}.txt", str(number))

    def work():
        threads = [
            threading.Thread(target=lambda: [read(f"data/{number}.txt") for number in range(20)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    seen = project.observe(work)

    assert seen.names("file") == {f"./data/{number}.txt" for number in range(20)}


def test_each_run_has_only_its_own_facts(project):
    """An observer sees nothing of what came before or after it, and only one is at work."""
    project.write("a.txt")
    project.write("b.txt")

    first = project.observe(lambda: read("a.txt"))
    read("b.txt")
    second = project.observe(lambda: read("b.txt"))

    assert first.names("file") == {"./a.txt"}
    assert second.names("file") == {"./b.txt"}
    with Observer(root=project.root, roots={}, ignored=(), log=None):
        other = Observer(root=project.root, roots={}, ignored=(), log=None)
        with pytest.raises(RuntimeError, match="another observer"):
            other.start()


def test_a_database_is_a_file_that_was_read(project):
    """sqlite reads through native code."""
    connection = sqlite3.connect("labels.db")
    connection.execute("create table t (x)")
    connection.commit()
    connection.close()

    def look():
        connection = sqlite3.connect("labels.db")
        connection.execute("select * from t").fetchall()
        connection.close()

    seen = project.observe(look)

    assert seen.kinds("./labels.db") == {"file"}
    project.write("labels.db-wal")
    assert seen.broken()[0][1] == "./labels.db-wal"


def test_what_is_committed_beside_a_database_is_part_of_it(project):
    """While another process uses it, its newest rows lie in its write-ahead log alone."""
    writer = sqlite3.connect("labels.db")
    writer.execute("pragma journal_mode=wal")
    writer.execute("create table t (x)")
    writer.commit()

    def look():
        connection = sqlite3.connect("labels.db")
        connection.execute("select * from t").fetchall()
        connection.close()

    seen = project.observe(look)
    before = seen.broken()
    writer.execute("insert into t values (1)")
    writer.commit()

    assert before is None
    assert seen.broken()[0][1] == "./labels.db-wal"
    writer.close()


def test_the_log_survives_code_that_closes_every_descriptor(project):
    """A daemon's habit: what is opened afterwards under the same number is not written into."""
    project.write("a.txt")
    project.write("b.txt")

    def work():
        child = os.fork()
        if child == 0:
            os.closerange(3, 64)
            files = [os.open("b.txt", os.O_RDWR) for _ in range(20)]
            read("a.txt")
            os._exit(len(files) - 20)
        assert os.waitpid(child, 0)[1] == 0

    seen = project.observe(work)

    assert "./a.txt" in seen.names("file")
    assert read("b.txt") == b"content\n"


def test_an_unsound_observation_says_so(project, monkeypatch):
    """What could not be written down is reported, never swallowed."""
    log = project.log()
    observer = Observer(root=project.root, roots={}, ignored=(), log=log)
    project.write("a.txt")

    observer.start()
    read("a.txt")
    with open(log, "ab") as file:
        file.write(b'["file", "cut sho')
    observed = observer.stop()

    assert observed.lost == ("the log of observations is damaged",)


def test_a_folder_that_is_gone_and_a_file_in_its_place(project):
    """Kinds count: a folder that became a file, or went, is noticed."""
    os.makedirs("data")

    seen = project.observe(lambda: os.path.isdir("data"))

    assert seen.broken() is None
    os.rmdir("data")
    assert seen.broken() is not None
    project.write("data")
    assert seen.broken() is not None


def test_hard_links_truncation_and_removal(project):
    """A link depends on what it links to; what is cut or removed by the step is its own."""
    for name in ("a.txt", "b.txt", "c.txt"):
        project.write(name)

    def work():
        os.link("a.txt", "linked.txt")
        os.truncate("b.txt", 0)
        os.remove("c.txt")
        os.symlink("a.txt", "symlink.txt")
        read("linked.txt")
        read("symlink.txt")
        with pytest.raises(FileNotFoundError):
            os.remove("missing.txt")

    seen = project.observe(work)

    assert seen.names("file") == {"./a.txt"}
    assert seen.names("absent") == {"./missing.txt"}
    assert seen.changed == ()


def test_a_tree_that_the_step_makes_and_removes_leaves_nothing(project):
    """`shutil.copytree` and `rmtree` work by descriptor, and only the source counts."""
    project.write("data/deep/a.txt")

    def work():
        shutil.copytree("data", "copy")
        shutil.rmtree("copy")

    seen = project.observe(work)

    assert seen.names("file") == {"./data/deep/a.txt"}
    assert seen.names("listing") == {"./data", "./data/deep"}
    assert not [name for _, name, _ in seen.facts if name.startswith("./copy")]
    assert seen.changed == ()


def test_a_file_of_the_system_counts_where_project_code_opens_it(project):
    """Libraries probe them all the time; what the project's own code reads there, a result depends on."""
    project.write(
        "model.py", "from pathlib import Path\nTEXT = Path('/etc/hostname').read_text()\n"
    )

    seen = project.run("import model")
    probed = project.run("import socket, locale, time, platform\nopen('/etc/hostname').close()")

    assert "/etc/hostname" in seen.names("file")
    assert "/etc/hostname" not in probed.names("file")


@pytest.mark.parametrize("place", ["lnk", "tmp/lnk"])
def test_what_lies_behind_a_link_of_its_own_counts(project, place):
    """The link is the step's, the file is not; a linked folder's files likewise."""
    project.write("data/x.txt", "1\n")
    project.write("tmp/.keep")

    def work():
        os.symlink(project.path("data/x.txt"), place)
        os.symlink(project.path("data"), place + "s")
        with open(place, encoding="utf-8") as file:
            file.read()
        with open(place + "s/x.txt", encoding="utf-8") as file:
            file.read()

    seen = project.observe(work)

    assert seen.broken() is None
    assert seen.names("file") == {"./data/x.txt"}
    project.write("data/x.txt", "2\n")
    assert seen.broken() is not None
