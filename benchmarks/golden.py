"""The tests against the original's recorded outputs, at the default precision of the device.

Child: python -m benchmarks.golden. The tests are skipped, in a word, where there are no outputs.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from benchmarks.worker import ROOT, answer

WORKERS = 4
OUTCOMES = ("passed", "failed", "left out")
# Compiled as users compile: tests/conftest.py would set flags under which programs compile faster.
# Several processes share the device, so that none may take all of its memory.
ENVIRONMENT = {"XLA_FLAGS": "", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def outputs() -> Path:
    """The folder of recorded outputs, where the tests look for it."""
    return Path(os.environ.get("GOLDEN_DIR", ROOT.parent / "shared" / "golden"))


def run_golden(tests: Path, workers: int = WORKERS) -> dict[str, Any]:
    """How many of the golden tests in a folder or file pass, fail or are skipped, and which fail.

    RuntimeError with pytest's last line where it makes no report.
    """
    if not outputs().is_dir():
        return {"skipped": f"no recorded outputs at {outputs()} (set GOLDEN_DIR)"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", str(tests), "-k", "golden", "-q"]
        command += ["-p", "no:cacheprovider", f"--junitxml={report}"]
        if workers > 1 and importlib.util.find_spec("xdist"):
            command += ["-n", str(workers), "--dist", "loadfile"]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | ENVIRONMENT, capture_output=True, text=True
        )
        if not report.exists():
            said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
            raise RuntimeError(f"pytest ended with status {done.returncode}: {said}")
        found = counts(report.read_text())
    if not any(found[name] for name in OUTCOMES):
        raise RuntimeError(f"there are no golden tests in {tests}")
    return found


def counts(report: str) -> dict[str, Any]:
    """Of a JUnit report."""
    cases = list(ElementTree.fromstring(report).iter("testcase"))
    failed = [c.get("name", "") for c in cases if _has(c, "failure") or _has(c, "error")]
    left_out = sum(_has(case, "skipped") for case in cases)
    outcomes = (len(cases) - len(failed) - left_out, len(failed), left_out)
    return dict(zip(OUTCOMES, outcomes, strict=True)) | {"which failed": failed}


def _has(case: ElementTree.Element, tag: str) -> bool:
    return case.find(tag) is not None


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=Path, default=ROOT / "tests")
    parser.add_argument("--workers", type=int, default=WORKERS)
    args = parser.parse_args()
    found = run_golden(args.tests, args.workers)
    answer({"measures": {"golden": 1}}, {"golden": lambda _: found})


if __name__ == "__main__":
    run()
