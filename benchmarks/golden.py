"""The tests against the original's recorded outputs, at the default precision of the device.

Child: python -m benchmarks.golden. The tests are skipped, in a word, where there are no outputs.
"""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.worker import ROOT, answer

WORKERS = 4
# Compiled as users compile: tests/conftest.py would set flags under which programs compile faster.
# Several processes share the device, so that none may take all of its memory.
ENVIRONMENT = {"XLA_FLAGS": "", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
# "tests/a.py::test_b PASSED [ 50%]"; of several workers "[gw0] [ 50%] PASSED tests/a.py::test_b".
OUTCOME = re.compile(
    r"^(?:\[gw\d+\] \[ *\d+%\] )?(?:\S+::(?P<before>.+?) )?"
    r"(?P<outcome>PASSED|FAILED|ERROR|SKIPPED)\b(?: \S+::(?P<after>\S.*))?",
    re.MULTILINE,
)


def outputs() -> Path:
    """The folder of recorded outputs, where the tests look for it."""
    return Path(os.environ.get("GOLDEN_DIR", ROOT.parent / "shared" / "golden"))


def run_golden(tests: Path, workers: int = WORKERS, seconds: float = 600.0) -> dict[str, Any]:
    """How many of the golden tests in a folder or file pass, fail or are skipped, and which fail.

    seconds: after which they are ended; those that were run by then count. RuntimeError with
    pytest's last line where there are none.
    """
    if not outputs().is_dir():
        return {"skipped": f"no recorded outputs at {outputs()} (set GOLDEN_DIR)"}
    command = [sys.executable, "-m", "pytest", str(tests), "-k", "golden", "-vv"]
    command += ["-p", "no:cacheprovider", "-rN", "--tb=no"]
    if workers > 1 and importlib.util.find_spec("xdist"):
        command += ["-n", str(workers), "--dist", "loadfile"]
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        cut = ""
        try:
            subprocess.run(
                command, cwd=ROOT, env=os.environ | ENVIRONMENT, stdout=said, stderr=said,
                timeout=seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            cut = f"ended after {seconds:.0f} s"
        said.seek(0)
        text = said.read()
    if not OUTCOME.search(text):
        last = (text.strip().splitlines() or ["nothing was said"])[-1]
        raise RuntimeError(f"no golden tests were run in {tests}: {cut or last}")
    return outcomes(text) | {"cut": cut}


def outcomes(text: str) -> dict[str, Any]:
    """Of what pytest said, test by test."""
    counts: Counter[str] = Counter()
    failed = []
    for found in OUTCOME.finditer(text):
        counts[found["outcome"]] += 1
        if found["outcome"] in ("FAILED", "ERROR"):
            failed.append((found["before"] or found["after"] or "").strip())
    return {
        "passed": counts["PASSED"],
        "failed": counts["FAILED"] + counts["ERROR"],
        "left out": counts["SKIPPED"],
        "which failed": failed,
    }


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=Path, default=ROOT / "tests")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--seconds", type=float, default=600.0)
    args = parser.parse_args()
    found = run_golden(args.tests, args.workers, args.seconds)
    answer({"measures": {"golden": 1}}, {"golden": lambda _: found})


if __name__ == "__main__":
    run()
