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
    sys.exit(3)


def leave_at_once(work):
    os.write(1, b"before the end\n")
    os._exit(3)


def exhaust(work):
    raise MemoryError


def crash(work):
    os.kill(os.getpid(), signal.SIGSEGV)


def kill(work):
    os.kill(os.getpid(), signal.SIGKILL)


def speak(work):
    print("from Python")
    sys.stdout.flush()
    os.write(1, b"from native code\n")
    subprocess.run(["/bin/echo", "from a child"], check=True)
    print("to stderr", file=sys.stderr)
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


def hang(work):
    """Say who is there, then wait for ever with a child in another session and one whose parent left."""
    away = subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True)
    near = subprocess.Popen(["/bin/sleep", "1000"])
    script = "import os; os.fork() and os._exit(0); os.setsid(); os.execv('/bin/sleep', ['sleep', '1000'])"
    subprocess.run([sys.executable, "-c", script], check=True)
    report(work.options["path"], [os.getpid(), os.getppid(), away.pid, near.pid])
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
