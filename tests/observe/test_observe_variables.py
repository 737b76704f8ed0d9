"""Environment variables that project code asks for in vain."""

from __future__ import annotations

import json
import os

import pytest

from onnxbuild.observe.observer import Observer


@pytest.fixture
def asked(project, monkeypatch):
    """Run the text of a module as project code and give what it asked for and did not get."""
    monkeypatch.setenv("THERE", "1")

    def ask(text):
        path = project.write("model.py", text)
        observer = Observer(root=project.root, roots={}, ignored=(), log=project.log())
        observer.start()
        try:
            exec(compile(text, path, "exec"), {"__file__": path})
        finally:
            found = observer.stop()
        return found.asked

    return ask


@pytest.mark.parametrize(
    "how",
    [
        "os.environ.get('LACKS')",
        "os.getenv('LACKS', '4')",
        "'LACKS' in os.environ",
        "os.environ.setdefault('LACKS', '4')",
        "os.environ.pop('LACKS', None)",
        "try: os.environ['LACKS']\nexcept KeyError: pass",
    ],
)
def test_each_way_of_asking_is_seen(asked, how):
    """Whatever the way, and only for what is not there."""
    assert asked(f"import os\nos.environ.get('THERE')\n{how}\nos.environ.pop('LACKS', None)\n") == (
        "LACKS",
    )


def test_what_libraries_ask_for_is_their_own_business(asked):
    """They probe hundreds; and outside of a step nobody listens."""
    os.environ.get("LACKS")

    assert asked("import logging, locale, json\nlocale.getlocale()\n") == ()


def test_the_environment_stays_what_it_was():
    """It is the same object, and behaves as before."""
    assert dict(os.environ) == json.loads(json.dumps(dict(os.environ)))
    with pytest.raises(KeyError, match="LACKS"):
        os.environ["LACKS"]
    assert os.environ.get("LACKS", "x") == "x"
