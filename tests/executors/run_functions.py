"""Run functions for the tests of executors and of the worker."""

import os
import random
import signal
import subprocess
import sys
import time

from onnxbuild.core.ports import MoreSteps
from onnxbuild.core.step import OWN, Output, Step
from onnxbuild.errors import DataError


def answer(work):
    return {"value": work.put_json(work.options)}


def fail(work):
    raise DataError("the data are wrong", where="data.csv:3", hint="mend them")


def leave(work):
    sys.exit(0)


def leave_at_once(work):
    os.write(1, b"before the end\n")
    os._exit(3)


def exhaust(work):
    raise MemoryError


def crash(work):
    os.write(1, b"before the end\n")
    os.kill(os.getpid(), signal.SIGSEGV)


def kill(work):
    os.write(1, b"before the end\n")
    os.kill(os.getpid(), signal.SIGKILL)


def speak(work):
    print("from Python")  # noqa: T201
    sys.stdout.flush()
    os.write(1, b"from native code\n")
    subprocess.run(["/bin/echo", "from a child"], check=True)
    print("to stderr", file=sys.stderr)  # noqa: T201
    return {"value": work.put_json(None)}


def surroundings(work):
    return {
        "value": work.put_json(
            {
                "environment": dict(os.environ),
                "cwd": os.getcwd(),
                "folder": work.folder,
                "argv": sys.argv,
                "random": random.random(),
                "project": sorted(name for name in sys.modules if name.startswith("theirs")),
                "umask": oct(os.umask(0o022)),
                "pid": os.getpid(),
            }
        )
    }


def grow(work):
    one = Step(run="m:one", label="one", inputs={"model": Output(OWN, "start")}, options={"a": 1})
    two = Step(run="m:two", label="two", inputs={"x": Output(one), "y": Output(one)}, threads=2)
    return MoreSteps(outputs={"value": Output(two)})


def misname(work):
    return {"valeu": work.put_json(1)}


def misanswer(work):
    return {"value": 3}


def note(work):
    work.notes["object"] = object()
    return {"value": work.put_json(1)}


def read_file(work):
    with open(work.options["path"]) as file:
        return {"value": work.put_json(file.read())}


def nothing(work):
    return None


def call_theirs(work):
    sys.path.insert(0, os.getcwd())
    import model

    return {"value": work.put_json(model.build())}


def read_while_another_writes(work):
    with open(work.options["path"]) as file:
        text = file.read()
    # Another program, which no one observes.
    script = 'printf %s "$1" > "$2"'
    command = ["/bin/sh", "-c", script, "sh", work.options["new"], work.options["path"]]
    subprocess.run(command, check=True)
    return {"value": work.put_json(text)}


def hang(work):
    """Say who is there, then wait for ever with a child in another session and one whose parent left."""
    away = subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True)
    near = subprocess.Popen(["/bin/sleep", "1000"])
    orphan = subprocess.run(
        ["/bin/sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!"],
        check=True,
        capture_output=True,
    )
    report(work.options["path"], [os.getpid(), away.pid, near.pid, int(orphan.stdout)])
    while True:
        time.sleep(1000)


def gate(work):
    """Report that it has begun, then wait until something is written to the pipe `gate`."""
    report(work.options["path"], [os.getpid()])
    with open(work.options["gate"]) as file:
        file.read()
    return {"value": work.put_json(1)}


def report(path, numbers):
    with open(path + ".part", "w") as file:
        file.write(" ".join(map(str, numbers)))
    os.rename(path + ".part", path)


def open_files(work):
    paths = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return {"value": work.put_json([os.readlink(path) for path in paths if os.path.islink(path)])}


def interrupt(work):
    raise KeyboardInterrupt


def parent(work):
    return {"value": work.put_json(os.getppid())}


def modules(work):
    return {"value": work.put_json([name for name in work.options if name in sys.modules])}


def grow_for_real(work):
    """Answer with two steps in a row that really run, the first on the growing step's own input."""
    one = Step(
        run="run_functions:add", label="one", inputs={"x": Output(OWN, "x")}, options={"y": 1}, outputs=("value",)
    )  # fmt: skip
    two = Step(
        run="run_functions:add", label="two", inputs={"x": Output(one, "value")}, options={"y": 10}, outputs=("value",)
    )  # fmt: skip
    return MoreSteps(outputs={"value": Output(two, "value")})


def add(work):
    return {"value": work.put_json(work.json("x") + work.options["y"])}
