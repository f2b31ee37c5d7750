"""Tasks that need no model and can misbehave, for a real worker process: `--tasks` names this file."""

import ctypes
import os
import sys
import time
from pathlib import Path

from TumorRetrievalLib.errors import InvalidBox


def echo(arguments, progress):
    return {"heard": arguments, "pid": os.getpid()}


def count(arguments, progress):
    """Progress in steps of a few milliseconds, up to `steps`."""
    for step in range(arguments["steps"]):
        progress(step / arguments["steps"], f"step {step}")
        time.sleep(0.005)
    return {"steps": arguments["steps"]}


def sleep(arguments, progress):
    """Says nothing and hears nothing for a while."""
    Path(arguments["mark"]).touch()
    time.sleep(arguments["seconds"])
    return {}


def refuse(arguments, progress):
    raise InvalidBox("A box needs three edges longer than 0 mm. Draw it again.")


def stumble(arguments, progress):
    return {"nothing": 1 / 0}


def leave(arguments, progress):
    sys.exit("a library that thinks it is a program")


def crash(arguments, progress):
    """Writes to memory that is not ours."""
    print("about to crash", file=sys.stderr, flush=True)
    ctypes.string_at(0)


def exhaust(arguments, progress):
    raise MemoryError


class OutOfMemoryError(RuntimeError):
    """Called like PyTorch's."""


def exhaust_gpu(arguments, progress):
    raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def chatter(arguments, progress):
    """Prints in every way there is."""
    print("printed")
    sys.stdout.write("written without an end")
    os.write(1, b"\xff\xfe raw bytes of C code\n")
    os.system("echo from a child process")
    return {"done": True}


def unsayable(arguments, progress):
    return {"number": float("nan")}


TASKS = {
    task.__name__: task
    for task in (echo, count, sleep, refuse, stumble, leave, crash, exhaust, exhaust_gpu, chatter, unsayable)
}
