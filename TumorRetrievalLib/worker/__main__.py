"""`python -m TumorRetrievalLib.worker`: does what it is asked on stdin, until stdin closes."""

import faulthandler
import os
import sys

from TumorRetrievalLib.worker.pipe import claim_stdout
from TumorRetrievalLib.worker.server import Server
from TumorRetrievalLib.worker.tasks import engine_tasks, tasks_of_file

if __name__ == "__main__":
    answers = claim_stdout()
    # A crash in native code leaves its stack in the log.
    faulthandler.enable(sys.stderr, all_threads=False)
    # Tests give a file with tasks of their own, which need no model and can misbehave.
    test_tasks = sys.argv[sys.argv.index("--tasks") + 1] if "--tasks" in sys.argv else None
    load = engine_tasks if test_tasks is None else lambda: tasks_of_file(test_tasks)
    Server(load, sys.stdin.buffer, answers).run()
    # Everything has been said and written. Taking down Python with PyTorch in it would take seconds.
    sys.stderr.flush()
    os._exit(0)
