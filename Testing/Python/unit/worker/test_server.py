"""The worker as a process, spoken to line by line."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from TumorRetrievalLib import __version__
from TumorRetrievalLib.worker.protocol import PROTOCOL

ROOT = Path(__file__).resolve().parents[4]
TASKS = Path(__file__).with_name("tasks_for_tests.py")


class Worker:
    """A real worker process with the tests' tasks."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "TumorRetrievalLib.worker", "--tasks", str(TASKS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip

    def write(self, line: bytes) -> None:
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def ask(self, number, task, **arguments) -> None:
        self.write(json.dumps({"id": number, "task": task, "arguments": arguments}).encode())

    def hear(self) -> dict:
        return json.loads(self.process.stdout.readline())

    def answer(self, number) -> dict:
        """The last message about a request."""
        while True:
            message = self.hear()
            if message["id"] == number and message["event"] in ("result", "error"):
                return message

    def end(self) -> tuple[bytes, bytes]:
        """Close stdin; what was still said, and the log."""
        return self.process.communicate(timeout=30)


@pytest.fixture
def worker():
    worker = Worker()
    yield worker
    worker.process.kill()
    worker.process.communicate()


def test_the_worker_introduces_itself(worker):
    worker.ask(1, "hello", protocol=PROTOCOL)

    assert worker.answer(1)["result"] == {"protocol": PROTOCOL, "version": __version__, "pid": worker.process.pid}


def test_a_client_of_another_version_is_told_what_to_do(worker):
    worker.ask(1, "hello", protocol=PROTOCOL + 1)

    error = worker.answer(1)["error"]
    assert error["kind"] == "WorkerOutdated"
    assert "Restart the application" in error["message"]


def test_requests_are_done_one_after_the_other_in_their_order(worker):
    worker.ask("a", "count", steps=20)
    worker.ask("b", "echo", word="ü")

    heard = [worker.hear() for _ in range(4)]
    while heard[-1] != {"id": "b", "event": "started"}:
        heard.append(worker.hear())
    last_of_first = heard.index({"id": "a", "event": "result", "result": {"steps": 20}})

    assert heard[0] == {"id": "a", "event": "started"}
    assert heard[1] == {"id": "a", "event": "progress", "fraction": 0.0, "message": "step 0"}
    assert last_of_first == len(heard) - 2
    assert worker.answer("b")["result"]["heard"] == {"word": "ü"}


@pytest.mark.parametrize(
    "line",
    [b"this is no JSON", b"\xff\xfe\x00", b"[1, 2]", b"{}", b'{"id": 1}', b'{"id": {}, "task": "echo"}',
     b'{"id": 1, "task": "echo", "arguments": []}', b"[" * 100_000],
    ids=["text", "bytes", "list", "empty", "no task", "odd id", "odd arguments", "very deep"],
)  # fmt: skip
def test_garbage_on_the_pipe_is_answered_and_the_worker_goes_on(worker, line):
    worker.write(line)
    worker.ask(2, "echo")

    assert worker.hear()["error"]["kind"] == "InvalidRequest"
    assert worker.answer(2)["event"] == "result"


def test_an_unknown_task_is_named_with_those_there_are(worker):
    worker.ask(1, "fnid")

    error = worker.answer(1)["error"]
    assert error["kind"] == "InvalidRequest"
    assert "'fnid'" in error["message"] and "echo" in error["message"]


def test_a_second_request_with_the_id_of_one_that_is_not_done_is_refused(worker):
    worker.ask(1, "count", steps=50)
    worker.ask(1, "echo")

    assert worker.answer(1)["error"]["kind"] == "InvalidRequest"
    assert worker.answer(1)["result"] == {"steps": 50}


def test_an_error_of_ours_arrives_with_its_kind_and_remedy_and_without_a_traceback(worker):
    worker.ask(1, "refuse")

    assert worker.answer(1)["error"] == {
        "kind": "InvalidBox",
        "message": "A box needs three edges longer than 0 mm. Draw it again.",
    }


@pytest.mark.parametrize(("task", "cause"), [("stumble", "ZeroDivisionError"), ("leave", "SystemExit")])
def test_an_unexpected_error_arrives_with_its_traceback_and_the_worker_goes_on(worker, task, cause):
    worker.ask(1, task)
    worker.ask(2, "echo")

    error = worker.answer(1)["error"]
    assert error["kind"] == "Unexpected"
    assert cause in error["message"] and f"in {task}" in error["traceback"]
    assert worker.answer(2)["event"] == "result"


@pytest.mark.parametrize("task", ["exhaust", "exhaust_gpu"])
def test_too_little_memory_is_said_with_a_remedy_and_the_worker_goes_on(worker, task):
    worker.ask(1, task)
    worker.ask(2, "echo")

    error = worker.answer(1)["error"]
    assert error["kind"] == "NotEnoughMemory"
    assert "Close other programs" in error["message"]
    assert worker.answer(2)["event"] == "result"


def test_a_result_that_json_cannot_say_is_an_error_and_not_a_broken_line(worker):
    worker.ask(1, "unsayable")

    assert worker.answer(1)["error"]["kind"] == "Unexpected"


def test_what_libraries_print_goes_to_the_log_and_not_between_the_messages(worker):
    worker.ask(1, "chatter")
    answer = worker.answer(1)
    rest, log = worker.end()

    assert answer["result"] == {"done": True}
    assert rest == b""
    for words in (b"printed", b"written without an end", b"raw bytes of C code", b"from a child process"):
        assert words in log


def test_a_running_task_stops_at_its_next_report_of_progress(worker):
    worker.ask(1, "count", steps=100_000)
    while worker.hear()["event"] != "progress":
        pass
    worker.ask(2, "cancel", id=1)

    assert worker.answer(1)["error"]["kind"] == "Cancelled"


def test_a_waiting_task_is_cancelled_at_once_while_another_runs(worker, tmp_path):
    worker.ask(1, "sleep", seconds=1.5, mark=str(tmp_path / "mark"))
    worker.ask(2, "echo")
    worker.ask(3, "cancel", id=2)

    assert worker.answer(2)["error"]["kind"] == "Cancelled"
    assert worker.answer(1)["event"] == "result"
    worker.ask(4, "echo")
    assert worker.hear() == {"id": 4, "event": "started"}


def test_cancelling_what_is_over_changes_nothing(worker):
    worker.ask(1, "echo")
    worker.answer(1)
    worker.ask(2, "cancel", id=1)

    assert worker.answer(2)["event"] == "result"


def test_the_worker_leaves_when_stdin_closes(worker):
    worker.ask(1, "echo")
    worker.answer(1)

    worker.end()

    assert worker.process.returncode == 0


def test_closing_stdin_stops_a_task_that_runs(worker):
    worker.ask(1, "count", steps=100_000)
    while worker.hear()["event"] != "progress":
        pass

    worker.end()

    assert worker.process.returncode == 0


def test_closing_stdin_ends_even_a_task_that_hears_nothing(worker, tmp_path):
    worker.ask(1, "sleep", seconds=300, mark=str(tmp_path / "mark"))
    while not (tmp_path / "mark").exists():
        time.sleep(0.02)

    worker.end()

    assert worker.process.returncode == 0


def test_shutdown_is_answered_and_followed(worker):
    worker.ask(1, "shutdown")

    assert worker.answer(1)["event"] == "result"
    assert worker.process.wait(30) == 0
