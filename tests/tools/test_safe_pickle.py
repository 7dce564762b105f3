"""What a pickle names is looked up in a table of the reader's own; nothing of it runs."""

import io
import os
import pickle

import pytest

from tools import safe_pickle
from tools.safe_pickle import Plain, record_of, table

KNOWN = table({("collections", "OrderedDict"): Plain})


class Shell:
    def __reduce__(self):
        return os.system, ("touch owned",)


@pytest.mark.parametrize("protocol", range(6))
def test_what_would_run_is_refused_by_name(protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = io.BytesIO(pickle.dumps({"model": Shell()}, protocol))
    with pytest.raises(pickle.UnpicklingError, match="system|instruction"):
        safe_pickle.load(content, KNOWN)
    assert not list(tmp_path.iterdir())


def test_data_are_read_and_the_file_stands_behind_them():
    value = {"a": [1, 2.5, None, True, "x", b"y", (1,), {3}, 2**70]}
    file = io.BytesIO(pickle.dumps(value, 4) + b"rest")
    assert safe_pickle.load(file, KNOWN) == value and file.read() == b"rest"


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04", b"\x80\x04]q\xff.", b"\x80\x02r\xff\xff\xff\x7f.", b"\x80\x04\x82\x01."],
)
def test_damage_is_an_error_of_the_file(content):
    with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, IndexError)):
        safe_pickle.load(io.BytesIO(content), KNOWN)


def test_records_keep_what_they_were_made_of():
    made = record_of("Net")(1, 2)
    made.__setstate__({"a": 3})
    assert (made.class_name, made.args, made.state) == ("Net", (1, 2), {"a": 3})
