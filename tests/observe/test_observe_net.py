import os
import subprocess
import sys

import pytest

from onnxbuild.observe.net import Net

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")


def cat(*paths):
    subprocess.run(["/bin/cat", *paths], check=True, capture_output=True)


@pytest.fixture
def net(project):
    for name in (
        "a.txt",
        "deep/er/b.txt",
        ".git/HEAD",
        ".venv/pyvenv.cfg",
        "env/pyvenv.cfg",
        "env/c.py",
    ):
        project.write(name)
    project.write("store/blob")
    net = Net(project.root, [project.path("store")])
    net.start()
    yield net
    net.stop()
    assert net.reason == ""


def test_what_another_process_opens_is_seen(project, net):
    """Files, at any depth; no folders, and nothing in folders that do not count."""
    mark = net.mark()

    cat("a.txt", "deep/er/b.txt", ".git/HEAD", "env/c.py", "store/blob")
    os.listdir("deep")

    assert net.opened_since(mark) == {project.path("a.txt"), project.path("deep/er/b.txt")}
    assert net.opened_since(net.mark()) == frozenset()
    assert net.lost == ""


def test_new_folders_are_watched(project, net):
    """As they appear, with what was put into them before anybody could watch."""
    os.makedirs("new/deep")
    project.write("new/deep/x.txt")
    mark = net.mark()

    cat("new/deep/x.txt")

    assert project.path("new/deep/x.txt") in net.opened_since(mark)


def test_a_folder_that_moves_keeps_its_new_name(project, net):
    """A renamed folder's files are known by where they are."""
    os.rename("deep", "moved")
    mark = net.mark()

    cat("moved/er/b.txt")

    assert net.opened_since(mark) == {project.path("moved/er/b.txt")}


def test_the_drivers_own_opens_are_left_out(project, net):
    """Only its own: what somebody else opens at the same time remains."""
    mark = net.mark()

    with net.own(project.path("a.txt")):
        cat("a.txt", "deep/er/b.txt")

    assert net.opened_since(mark) == {project.path("deep/er/b.txt")}
    assert net.drain() == {project.path("deep/er/b.txt")}
    assert net.drain() == frozenset()


def test_what_is_only_written_is_read_by_nobody(project, net):
    """An editor saves a file while a step runs: no step depends on it."""
    mark = net.mark()

    project.write("a.txt", "saved\n")
    project.write("made.txt")
    cat("made.txt")

    assert net.opened_since(mark) == frozenset()
    cat("a.txt")
    assert net.opened_since(mark) == {project.path("a.txt")}


def test_what_is_opened_to_write_and_not_changed_may_be_read(project, net):
    """Databases open their files so."""
    mark = net.mark()

    os.close(os.open("a.txt", os.O_RDWR))

    assert net.opened_since(mark) == {project.path("a.txt")}


def test_what_a_job_has_seen_is_explained(project, net):
    """The rest was opened by something that no hook sees, and is charged to the running steps."""
    mark = net.mark()

    def work():
        with open("a.txt", encoding="utf-8") as file:
            file.read()
        os.mkdir("made")
        cat("deep/er/b.txt")
        subprocess.run(["/bin/cp", "deep/er/b.txt", "made/copy"], check=True)
        cat("made/copy")

    project.observe(work)
    log = os.path.join(project.place, "seen1")

    assert net.unexplained(mark, [log]) == {project.path("deep/er/b.txt")}
    assert net.unexplained(mark, [log + "-missing"]) >= {project.path("a.txt")}


def test_too_many_opens_at_once_are_told_of(project, net, monkeypatch):
    """A queue that runs over means that nothing is proven."""
    with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as file:
        limit = int(file.read())
    with net._lock:
        for number in range(limit + 10):
            # Two names in turn: the kernel folds equal events into one.
            os.close(os.open("a.txt" if number % 2 else "deep/er/b.txt", os.O_RDONLY))

    net.mark()

    assert "more files were opened" in net.lost


def test_elsewhere_there_is_no_net_and_it_says_so(project, monkeypatch):
    """Other systems build without it."""
    monkeypatch.setattr(sys, "platform", "darwin")

    with Net(project.root) as net:
        mark = net.mark()

    assert net.reason == "darwin does not tell which files are opened"
    assert net.opened_since(mark) == frozenset()


def test_what_is_opened_by_way_of_a_link_is_known_by_both_names(project, net):
    """The kernel tells of the file behind it, the job and the driver of the link."""
    os.symlink("a.txt", "link")
    os.symlink("deep", "folder")
    mark = net.mark()

    def work():
        for path in ("link", "folder/er/b.txt"):
            with open(path, encoding="utf-8") as file:
                file.read()

    project.observe(work)
    with net.own(project.path("link"), project.path("folder/er/b.txt")):
        work()

    assert net.unexplained(mark, [os.path.join(project.place, "seen1")]) == frozenset()
    mark = net.mark()
    with net.own(project.path("link")):
        work()
    assert net.opened_since(mark) == {project.path("deep/er/b.txt")}


def test_links_are_names_of_what_they_lead_to(project, tmp_path):
    """A program that reads through a link depends on where it points: in the project, or out of it."""
    for name in ("outside/folder/a.txt", "outside/files/b.txt", "outside/files/other.txt"):
        project.write(f"../{name}")
    project.write("v1/c.txt")
    os.symlink("v1", "current")
    os.symlink("../outside/folder", "data")
    os.symlink("../outside/files/b.txt", "b.txt")
    os.symlink("..", "above")
    with Net(project.root) as net:
        os.symlink("../outside/folder", "later")
        mark = net.mark()

        cat("current/c.txt", "data/a.txt", "b.txt", "../outside/files/other.txt")

        names = ("v1/c.txt", "current/c.txt", "data/a.txt", "later/a.txt", "b.txt")
        assert net.unexplained(mark, []) == {project.path(name) for name in names}


def test_named_roots_are_watched_as_well(project):
    """A folder that a recipe names is a part of what is observed."""
    project.write("../hub/deep/a.txt")
    hub = os.path.normpath(project.path("../hub"))
    with Net(project.root, (), {"hub": hub, "none": "/none"}) as net:
        mark = net.mark()

        cat("../hub/deep/a.txt")

        assert net.unexplained(mark, []) == {f"{hub}/deep/a.txt"}
        assert net.reason == ""


def test_a_whole_disk_behind_a_link_is_not_watched(project, monkeypatch):
    """It would take minutes: some of it is, and the rest is told of."""
    monkeypatch.setattr("onnxbuild.observe.net.MOST_BEHIND", 2)
    for name in ("a", "b", "c"):
        project.write(f"../outside/{name}/x.txt")
    os.symlink("../outside", "data")

    with Net(project.root) as net:
        assert net.reason == f"there are more than 2 folders in {project.path('data')}"
