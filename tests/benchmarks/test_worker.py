"""Processes that measure: their memory, their answers, their failures, and races between them."""

import subprocess
import sys
import time

import pytest

from benchmarks.worker import Failed, Worker, race, reason

CHILD = """
from benchmarks.worker import serve
kept = []
serve(lambda: kept.append(bytearray(20_000_000)), {"parameters": 3, "first_run_s": 0.5})
"""
MEASURES = """
from benchmarks.worker import answer
def fail(count):
    raise ValueError("not so\\nat all")
answer({"ready": True}, {"twice": lambda count: 2 * count, "fail": fail})
"""


def child(program, **options):
    return Worker([sys.executable, "-c", program], **options)


def test_contestants_take_turns_and_report_their_memory():
    run = race({name: lambda: child(CHILD) for name in "ab"}, rounds=2, repeats=1)
    assert list(run.workers) == ["a", "b"] and not run.failed
    for worker in run.workers.values():
        assert worker.facts == {"parameters": 3, "first_run_s": 0.5}
        assert len(worker.seconds) == 2 and worker.ms > 0
        assert 60 <= worker.peak < 200  # three blocks of 20 MB beside the interpreter


def test_whoever_fails_is_out_of_the_race_and_says_why():
    starts = {
        "a": lambda: child(CHILD),
        "b": lambda: child("raise KeyError('b')"),
        "c": lambda: child(CHILD.replace("20_000_000", "-1")),
    }
    run = race(starts, rounds=1, repeats=1)
    assert list(run.workers) == ["a"]
    assert run.failed == {"b": "failed: KeyError: 'b'", "c": "failed: ValueError: negative count"}


def test_a_measure_that_fails_leaves_the_others():
    worker = child(MEASURES)
    assert worker.ask("twice", 4) == 8
    with pytest.raises(Failed, match="^ValueError: not so$"):
        worker.ask("fail")
    assert worker.ask("twice", 1) == 2
    worker.close()
    assert worker.peak > 1


def test_a_worker_that_died_between_two_questions_fails_whatever_is_done():
    worker = child(MEASURES).ready()
    worker.kill()
    for _ in range(2):
        with pytest.raises(Failed, match="^ended with status -9"):
            worker.ask("twice", 4)
    with pytest.raises(Failed, match="^ended with status -9"):
        worker.close()


def test_a_program_that_there_is_not_fails(tmp_path):
    with pytest.raises(Failed, match="^FileNotFoundError: .*python"):
        Worker([str(tmp_path / "python"), "-c", ""])


@pytest.mark.parametrize(
    "program, why",
    [
        ("raise SystemExit(3)", "ended with status 3"),
        ("import sys; print('error: a: got 1', file=sys.stderr); exit(2)", "error: a: got 1"),
        ("print('a remark')", "said 'a remark', which is no answer"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
    ],
)  # fmt: skip
def test_a_worker_that_fails_says_why(program, why):
    with pytest.raises(Failed, match=f"^{why}"):
        child(program, limit=1.0 if "sleep" in program else 60.0).ready()


def test_what_a_worker_has_started_ends_with_it(tmp_path):
    pid = tmp_path / "pid"
    program = f"""
import pathlib, subprocess, time
started = subprocess.Popen(["sleep", "60"])
pathlib.Path({str(pid)!r}).write_text(str(started.pid))
print("{{}}", flush=True)
time.sleep(60)
"""
    worker = child(program).ready()
    worker.kill()
    for _ in range(100):  # until the system has collected it
        state = subprocess.run(["ps", "-o", "stat=", "-p", pid.read_text()], capture_output=True)
        if not state.stdout.strip() or state.stdout.startswith(b"Z"):
            return
        time.sleep(0.05)
    pytest.fail("it runs on")


def test_the_first_line_of_the_last_error_counts():
    errors = """
Traceback (most recent call last):
  File "a.py", line 1
KeyError: 'first'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b.py", line 2, in f
    raise
torch._dynamo.exc.InternalTorchDynamoError: a guard failed
on this frame

Set TORCHDYNAMO_VERBOSE=1
"""
    assert reason(errors) == "torch._dynamo.exc.InternalTorchDynamoError: a guard failed"
    assert reason("a warning\n") == ""
