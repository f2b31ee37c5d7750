"""The client against real worker processes."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from TumorRetrievalLib.errors import Cancelled, InvalidBox, NotEnoughMemory, WorkerFailed, WorkerOutdated
from TumorRetrievalLib.worker.client import Patience, WorkerClient
from TumorRetrievalLib.worker.process import worker_command

TASKS = Path(__file__).with_name("tasks_for_tests.py")
LONG = 60


@pytest.fixture
def client_of():
    """`client_of(patience, program)`: a client of a worker with the tests' tasks, or of a Python program."""
    clients = []

    def make(patience: Patience | None = None, program: str | None = None, **options) -> WorkerClient:
        own = worker_command(None, "--tasks", str(TASKS))
        command = own if program is None else [sys.executable, "-c", program]
        clients.append(WorkerClient(command, patience=patience, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(client_of) -> WorkerClient:
    return client_of()


def result(call) -> dict:
    return call.future.result(LONG)


def error(call) -> Exception:
    return call.future.exception(LONG)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_for(condition) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_request_is_answered(client):
    assert result(client.submit("echo", {"word": "ü", "numbers": [1, 2.5, None]}))["heard"] == {
        "word": "ü",
        "numbers": [1, 2.5, None],
    }


def test_two_queued_requests_are_done_in_their_order_by_one_process(client):
    ended = []
    calls = [client.submit("count", {"steps": 30}), client.submit("echo"), client.submit("echo")]
    for number, call in enumerate(calls):
        call.future.add_done_callback(lambda _, n=number: ended.append(n))

    pids = {result(call).get("pid") for call in calls} - {None}

    wait_for(lambda: len(ended) == 3)
    assert ended == [0, 1, 2]
    assert len(pids) == 1


def test_progress_arrives_in_order(client):
    heard = []

    result(client.submit("count", {"steps": 5}, lambda fraction, message: heard.append((fraction, message))))

    assert heard == [(step / 5, f"step {step}") for step in range(5)]


def test_a_caller_with_its_own_thread_is_told_there(client_of):
    pending, told_in = [], []
    client = client_of(deliver=pending.append)
    call = client.submit("echo")
    call.future.add_done_callback(lambda _: told_in.append(threading.current_thread()))

    wait_for(lambda: pending)
    assert not call.future.done()
    pending.pop()()

    assert call.future.done()
    assert told_in == [threading.current_thread()]


def test_an_error_comes_back_as_the_exception_that_it_was(client):
    assert isinstance(error(client.submit("refuse")), InvalidBox)
    assert str(error(client.submit("refuse"))).endswith("Draw it again.")
    assert isinstance(error(client.submit("exhaust")), NotEnoughMemory)


def test_an_unexpected_error_brings_its_traceback(client):
    unexpected = error(client.submit("stumble"))

    assert isinstance(unexpected, WorkerFailed)
    assert "in stumble" in unexpected.traceback


def test_a_crash_fails_only_the_task_that_crashed_and_the_next_worker_does_the_rest(client):
    before = result(client.submit("echo"))["pid"]
    crashing, waiting = client.submit("crash"), client.submit("echo", {"word": "still here"})

    assert isinstance(error(crashing), WorkerFailed)
    assert "about to crash" in str(error(crashing))
    assert result(waiting)["heard"] == {"word": "still here"}
    assert result(waiting)["pid"] != before
    assert result(client.submit("echo"))["pid"] == result(waiting)["pid"]


def test_files_of_the_caller_survive_a_crash(client):
    folder = client.new_folder()
    (folder / "result.json").write_text("{}")

    error(client.submit("crash"))

    assert (folder / "result.json").exists()
    assert client.new_folder() != folder


def test_a_task_is_cancelled_in_the_middle_and_the_worker_stays(client):
    running = threading.Event()
    before = result(client.submit("echo"))["pid"]
    call = client.submit("count", {"steps": 100_000}, lambda *_: running.set())
    assert running.wait(LONG)

    client.cancel(call)

    assert isinstance(error(call), Cancelled)
    assert result(client.submit("echo"))["pid"] == before


def test_a_task_that_does_not_listen_is_killed_and_the_next_one_done(client_of, tmp_path):
    client = client_of(Patience(cancel=0.3))
    deaf = client.submit("sleep", {"seconds": 300, "mark": str(tmp_path / "mark")})
    waiting = client.submit("echo")
    wait_for((tmp_path / "mark").exists)

    client.cancel(deaf)

    assert isinstance(error(deaf), Cancelled)
    assert "heard" in result(waiting)


def test_a_hung_task_is_killed_and_the_next_one_done(client_of, tmp_path):
    client = client_of(Patience(silence=0.5))
    before = result(client.submit("echo"))["pid"]
    hung = client.submit("sleep", {"seconds": 300, "mark": str(tmp_path / "mark")})
    waiting = client.submit("echo")

    assert "said nothing" in str(error(hung)) and "'sleep'" in str(error(hung))
    assert "heard" in result(waiting)
    wait_for(lambda: not is_running(before))


def test_a_long_task_that_tells_of_its_progress_is_not_taken_for_hung(client_of):
    client = client_of(Patience(silence=1.0))

    assert result(client.submit("count", {"steps": 400})) == {"steps": 400}


def test_a_request_is_cancelled_before_the_worker_has_started(client):
    call = client.submit("echo")

    client.cancel(call)

    assert isinstance(error(call), Cancelled)
    assert "heard" in result(client.submit("echo"))


def test_cancelling_twice_or_too_late_does_nothing(client):
    call = client.submit("echo")
    done = result(call)

    client.cancel(call)
    client.cancel(call)

    assert result(call) is done


def test_chatter_of_libraries_does_not_disturb(client):
    assert result(client.submit("chatter")) == {"done": True}
    assert "heard" in result(client.submit("echo"))


def test_garbage_from_the_worker_is_kept_as_log_and_passed_over(client_of):
    program = """if True:
        import json, sys
        hello = json.loads(sys.stdin.readline())
        print("Intel MKL WARNING", "\\x00\\x01", "[1]", '{"id": 77, "event": "result"}', '{"id": 0}', sep="\\n")
        print(json.dumps({"id": 0, "event": "result", "result": {}}), flush=True)
        request = json.loads(sys.stdin.readline())
        print("Segmentation fa", json.dumps({"id": request["id"], "event": "result", "result": {"a": 1}}), sep="\\n")
        sys.stdout.flush(); sys.stdin.read()
    """
    client = client_of(program=program)

    assert result(client.submit("anything")) == {"a": 1}
    assert "Intel MKL WARNING" in client.last_log()


def test_a_worker_that_cannot_start_is_told_with_its_log(client_of):
    client = client_of(program="raise ImportError('no module named torch')")
    calls = [client.submit("echo"), client.submit("echo")]

    for call in calls:
        assert isinstance(error(call), WorkerFailed)
        assert "could not be started" in str(error(call)) and "no module named torch" in str(error(call))


def test_an_interpreter_that_is_not_there_is_named():
    with WorkerClient(["/nowhere/python"]) as client:
        assert "/nowhere/python cannot be started" in str(error(client.submit("echo")))


def test_a_worker_that_never_says_hello_is_given_up(client_of):
    client = client_of(Patience(start=0.5), program="import sys; sys.stdin.read()")

    assert "said nothing for" in str(error(client.submit("echo")))


def test_a_worker_of_another_version_is_refused(client_of):
    answer = '{"id": 0, "event": "error", "error": {"kind": "WorkerOutdated", "message": "two versions are mixed"}}'
    client = client_of(program=f"import sys; sys.stdin.readline(); print({answer!r}, flush=True); sys.stdin.read()")

    assert isinstance(error(client.submit("echo")), WorkerOutdated)


def test_closing_ends_the_process_and_what_was_still_to_do(client, tmp_path):
    pid = result(client.submit("echo"))["pid"]
    folder = client.new_folder()
    calls = [client.submit("sleep", {"seconds": 300, "mark": str(tmp_path / "mark")}), client.submit("echo")]

    client.close()

    assert all(isinstance(error(call), Cancelled) for call in calls)
    wait_for(lambda: not is_running(pid))
    assert not folder.exists()
    with pytest.raises(WorkerFailed, match="closed"):
        client.submit("echo")


def test_the_client_needs_neither_torch_nor_faiss_nor_qt(client):
    import subprocess

    code = "import sys, TumorRetrievalLib.worker.client; print(*sys.modules)"
    root = Path(__file__).resolve().parents[4]
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout

    assert not {"torch", "faiss", "numpy", "qt", "PySide6"} & {name.split(".")[0] for name in loaded.split()}
