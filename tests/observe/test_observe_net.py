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
