import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
from handwriting_sketches import strokes

from handwriting.desk import Desk, server
from options.errors import InvalidValue

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


def draw(text, writer, seed):
    """Straight letters, the larger the greater the seed is; a writer that cannot write."""
    if writer == "broken":
        raise RuntimeError("no ink")
    return strokes(text, 1.0 + seed)


DESK = Desk(draw, ("anna", "</script><b>", "broken"), "nhpE ", longest=12)


@pytest.fixture(scope="module")
def address():
    with server(DESK) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving.address
        serving.shutdown()
        thread.join()


def get(url, **headers):
    """The status, kind and content of an answer."""
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers, answer.read().decode()


def drawn(address, **asked):
    status, _, content = get(f"{address}draw?{urllib.parse.urlencode(asked)}")
    return status, json.loads(content)


def test_the_page_needs_nothing_from_outside(address):
    status, headers, page = get(address)
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page) and "http" not in page
    settings = re.search(r'id="settings" type="application/json">(.*?)</script>', page)[1]
    assert json.loads(settings)["writers"] == list(DESK.writers)
    assert json.loads(settings)["longest"] == 12
    fields = re.findall(r"<(?:input|select)[^>]*", page)
    assert len(fields) == 4  # each in a label of its own
    for field in fields:
        assert re.search(r"<label[^>]*>[^<]+" + re.escape(field), page), field


def test_a_line_is_drawn_on_its_sheet(address):
    status, made = drawn(address, text=" nh  pn ", writer="anna", seed=3)
    assert status == 200 and sorted(made) == ["height", "strokes", "svg", "width"]
    expected = strokes("nh pn")
    assert len(made["strokes"]) == len(expected) == made["svg"].count("<path")
    scale = 4.0
    for got, wanted in zip(made["strokes"], expected, strict=True):
        np.testing.assert_allclose(got, wanted * scale + [8, 16], atol=0.5)
    assert '<title id="title">nh pn</title>' in made["svg"]
    assert drawn(address, text="n")[1]["width"] == pytest.approx(0.6 * scale + 16, abs=0.1)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "text: got nothing, expected something to write"),
        ({"text": "  "}, "text: got nothing, expected something to write"),
        ({"text": "n" * 13}, "text: got 13 characters, expected at most 12"),
        ({"text": "né?"}, "text: got '?é', expected characters that the writers know"),
        ({"text": "n", "writer": "ana"}, "writer: got 'ana', expected one of"),
        ({"text": "n", "seed": "-1"}, "seed: got '-1', expected a whole number up to 2147483647"),
        ({"text": "n", "seed": "9" * 5000}, "seed: got '999"),
        ({"text": "n", "seed": "²"}, "seed: got '²'"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(address, asked, message):
    status, made = drawn(address, **asked)
    assert status == 400 and made["error"].startswith(message)
    assert "\n" not in made["error"]


def test_a_fault_is_not_shown_but_logged(address, caplog):
    status, made = drawn(address, text="n", writer="broken")
    assert status == 500 and made == {"error": "The writing failed; the terminal says why."}
    assert "no ink" in caplog.text


def test_other_paths_and_other_hosts_get_nothing(address):
    status, _, content = get(f"{address}../etc/passwd")
    assert status == 400 and "path: got" in content
    assert get(f"{address}draw?" + "a=1&" * 2000)[0] == 400 == get(f"{address}//[")[0]
    status, _, content = get(address, Host="example.com:80")
    assert status == 403 and "Host" in content and "<html" not in content
    assert get(address, Host="localhost")[0] == 200


def test_it_listens_to_this_machine_alone_and_says_where_it_cannot():
    with server(DESK) as first:
        assert first.server_address[0] == "127.0.0.1"
        with pytest.raises(InvalidValue, match=r"port: got \d+, expected a port that is free"):
            server(DESK, first.server_port)
    with pytest.raises(InvalidValue, match="port: got 70000"):
        server(DESK, 70000)


def test_a_desk_has_writers_and_room():
    with pytest.raises(InvalidValue, match="writers: got"):
        Desk(draw, (), "n")
    with pytest.raises(InvalidValue, match="longest: got 0"):
        Desk(draw, ("anna",), "n", longest=0)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
@pytest.mark.parametrize("asked", [{"text": "nh pn", "writer": "anna", "seed": 1}, {"text": "x"}])
def test_a_browser_shows_the_pen(address, asked, tmp_path):
    """The page as Chromium has it some moments after it was opened by a link."""
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
        "--virtual-time-budget=5000", "--dump-dom", f"{address}?{urllib.parse.urlencode(asked)}",
    ]  # fmt: skip
    page = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    said = re.search(r'<p id="said" role="(\w+)"[^>]*>([^<]*)', page)
    sheet = page.partition('id="sheet"')[2].partition('class="actions"')[0]
    if asked["text"] == "x":
        assert said[1] == "alert" and said[2].startswith("text: got 'x', expected characters")
        assert "<path" not in sheet
    else:
        assert said.groups() == ("status", "anna, sample 1.")
        assert sheet.count("<path") == len(strokes("nh pn"))
        assert "stroke-dasharray" in sheet and "visibility: hidden" in sheet  # on its way
