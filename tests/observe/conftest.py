"""A project to observe, and ways to observe it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from onnxbuild.core.facts import first_broken
from onnxbuild.observe.observer import Observer

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

RUNNER = """
import json, os, sys
sys.path.append({repository!r})
{before}
from onnxbuild.observe.observer import Observer
observer = Observer(root={root!r}, roots={{}}, ignored=(), log={log!r})
observer.start()
sys.path.insert(0, {root!r})
{body}
observed = observer.stop()
print(json.dumps([observed.facts, observed.changed, observed.lost]))
"""


class Seen:
    """What was observed, easy to ask."""

    def __init__(self, project, facts, changed, lost):
        self.project = project
        self.facts = [tuple(fact) for fact in facts]
        self.changed = tuple(changed)
        assert not lost

    def kinds(self, name):
        """The kinds of facts about one name."""
        return {kind for kind, each, _ in self.facts if each == name}

    def names(self, kind):
        """The names of all facts of a kind."""
        return {name for each, name, _ in self.facts if each == kind}

    def broken(self, roots=None):
        """The first fact that does not hold now; None when all do."""
        facts = [fact for fact in self.facts if fact[0] != "package"]
        return first_broken(facts, self.project.root, roots or {}, {})


class Project:
    """A folder with files, and the observers that look at it."""

    def __init__(self, root, place):
        self.root = str(root)
        self.place = str(place)
        self.count = 0

    def path(self, name):
        return os.path.join(self.root, name)

    def write(self, name, text="content\n"):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def log(self):
        self.count += 1
        return os.path.join(self.place, f"seen{self.count}")

    def observe(self, action, roots=None, ignored=()):
        """Run `action` in this process, in the project's folder, observed."""
        observer = Observer(root=self.root, roots=roots or {}, ignored=ignored, log=self.log())
        observer.start()
        try:
            action()
        finally:
            observed = observer.stop()
        return Seen(self, observed.facts, observed.changed, observed.lost)

    def run(self, body, before=""):
        """Run code in a Python of its own, observed; bytecode is written as it is by default."""
        script = RUNNER.format(
            repository=REPOSITORY,
            root=self.root,
            log=self.log(),
            body=textwrap.dedent(body),
            before=textwrap.dedent(before),
        )
        environment = {
            name: value
            for name, value in os.environ.items()
            # Torch keeps the place of its cache in a variable, from the first export in this process on.
            if name not in {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONPATH"}
            and not name.startswith("TORCHINDUCTOR_")
        }
        done = subprocess.run(
            [sys.executable, "-P", "-c", script],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.printed = done.stdout.splitlines()[:-1]
        return Seen(self, *json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project below the system's temporary folder; it is the working directory."""
    root = tmp_path / "project"
    place = tmp_path / "place"
    root.mkdir()
    place.mkdir()
    monkeypatch.chdir(root)
    return Project(root, place)
