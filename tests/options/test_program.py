"""What a program says: errors, warnings and log records, a line each."""

import logging
import warnings

import pytest

from options.errors import InvalidValue
from options.program import one_line_errors


def test_an_error_that_a_user_can_mend_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended, one_line_errors():
        raise InvalidValue("steps", 0, "at least 1\n  or more")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: steps: got 0, expected at least 1 or more\n"


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), one_line_errors():
        1 / 0  # noqa: B018


def test_warnings_come_without_module_time_and_place(capsys):
    before = logging.root.handlers[:]
    with one_line_errors():
        logging.getLogger("data.image_folder").warning("%s: 3 files left out", "cats")
        logging.getLogger("absl").error("no space")
        logging.getLogger("data").info("nothing to say")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            shown = warnings.formatwarning("slow", UserWarning, "a/file.py", 12)
    said = "warning: cats: 3 files left out\nerror: no space\n"
    assert (capsys.readouterr().err, shown) == (said, "warning: slow\n")
    assert logging.root.handlers == before


def test_what_modules_installed_for_the_terminal_is_silent_meanwhile(capsys):
    import sys

    handler = logging.StreamHandler(sys.stderr)
    logging.root.addHandler(handler)
    try:
        with one_line_errors():
            logging.getLogger("data").warning("once")
    finally:
        logging.root.removeHandler(handler)
    assert capsys.readouterr().err == "warning: once\n"


@pytest.mark.parametrize("value", ["1", "True"])
def test_no_program_runs_in_double_precision(value, monkeypatch, capsys):
    monkeypatch.setenv("JAX_ENABLE_X64", value)
    with pytest.raises(SystemExit), one_line_errors():
        raise AssertionError("it runs")
    said = f"error: JAX_ENABLE_X64: got '{value}', but all here is in float32, expected it unset\n"
    assert capsys.readouterr().err == said
