"""A build that is going to be killed: prints its server's process id and waits for ever."""

import json
import os
import signal
import sys

from onnxbuild.executors.messages import job_from_json
from onnxbuild.executors.process import ProcessExecutor

if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    executor = ProcessExecutor(print, 1, preload=("run_functions",), expected=(), path=(here,))
    executor.submit(job_from_json(json.loads(sys.argv[1])))
    print(executor._server.process.pid, flush=True)  # noqa: T201
    signal.pause()
