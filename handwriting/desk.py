"""A page in a browser on which a person types, picks a writer and sees the pen move.

    desk = Desk(draw, writers=("anna", "bert"), characters=" abc")
    with server(desk, port=8000) as serving:
        serving.serve_forever()          # http://127.0.0.1:8000

The page (`desk.html`) asks this server, and nothing else, for

    GET /draw?text=...&writer=...&seed=...

which is, in millimetres, {"strokes": [[[x, y], ...], ...], "width": w, "height": h, "svg": file},
or, with a status of 400 or more, {"error": "a sentence"}.

It is for the person at the machine: bound to 127.0.0.1, it answers no other host.
"""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from data.strokes import Line
from handwriting.drawing import Look
from handwriting.page import Layout, page
from handwriting.preprocessing import Stroke, to_rows
from handwriting.svg import svg
from options.choices import choose, require, require_at_least_one
from options.errors import InvalidValue, UserError, Words

logger = logging.getLogger(__name__)
PAGE = Path(__file__).parent / "desk.html"
SETTINGS = "{{settings}}"  # what stands in the page for the writers and limits
LOCAL = "127.0.0.1"
MOST_SEED = 2**31 - 1
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; connect-src 'self'; img-src data:",
}
FAULT = "The writing failed; the terminal says why."


class Forbidden(UserError):
    """A request that does not come from this machine's own page."""


@dataclass(frozen=True)
class Desk:
    """What the page offers.

    Attributes:
      draw: (text, writer, seed) to the strokes of one line, y down, in any unit.
      writers: by name; the first is chosen at the beginning.
      characters: that can be written.
      longest: the most characters of a text.
      layout: of the sheet around the line.
      look: of the line.
    """

    draw: Callable[[str, str, int], Sequence[Stroke]]
    writers: tuple[str, ...]
    characters: str
    longest: int = 50
    layout: Layout = Layout(
        0, 0, x_height=4, line_height=14, left=8, right=8, top=2, bottom=8, drift=0
    )
    look: Look = Look()
    lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        require(self.writers, "writers", self.writers, "at least one")
        require_at_least_one(self, "longest")

    def page(self) -> str:
        """The page, which needs nothing but this server."""
        settings = {"writers": self.writers, "longest": self.longest, "most_seed": MOST_SEED}
        # Nothing in it may end the script that it stands in.
        text = json.dumps(settings).replace("<", "\\u003c")
        return PAGE.read_text("utf-8").replace(SETTINGS, text)

    def answer(self, asked: dict[str, str]) -> dict[str, Any]:
        """What /draw gives; InvalidValue for what cannot be written.

        asked: text, writer and seed; without them "", the first writer and 0.
        """
        text = " ".join(asked.get("text", "").split())
        writer, seed = asked.get("writer", self.writers[0]), asked.get("seed", "0")
        require(text, "text", Words("nothing"), "something to write")
        got = Words(f"{len(text)} characters")
        require(len(text) <= self.longest, "text", got, f"at most {self.longest}")
        lacking = "".join(sorted(set(text) - set(self.characters)))
        if lacking:
            raise InvalidValue("text", lacking, "characters that the writers know")
        choose(dict.fromkeys(self.writers), writer, "writer")
        known = seed.isascii() and seed.isdigit() and int(seed[:11]) <= MOST_SEED
        require(known, "seed", seed, f"a whole number up to {MOST_SEED}")
        with self.lock:  # one after the other: each takes all of the machine
            strokes = self.draw(text, writer, int(seed))
        drawing = page([Line(to_rows(strokes), text, writer)], self.layout)
        return {
            "strokes": [stroke.round(3).tolist() for stroke in drawing.strokes],
            "width": drawing.width,
            "height": drawing.height,
            "svg": svg(drawing, self.look).decode(),
        }


class Server(ThreadingHTTPServer):
    """Of one desk, on 127.0.0.1."""

    daemon_threads = True

    def __init__(self, desk: Desk, port: int) -> None:
        super().__init__((LOCAL, port), Handler)
        self.desk = desk

    @property
    def address(self) -> str:
        """That a browser opens."""
        return f"http://{LOCAL}:{self.server_port}/"


def server(desk: Desk, port: int = 0) -> Server:
    """The server of a desk, for `serve_forever`; port 0 is any that is free.

    InvalidValue where the port is taken.
    """
    try:
        return Server(desk, port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidValue("port", port, f"a port that is free: {reason}") from None


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server  # type: ignore[assignment]
    timeout = 30  # seconds for a request to come

    def do_GET(self) -> None:
        """/ and /draw."""
        routes = {"/": self._page, "/draw": self._draw}
        try:
            self._check_host()
            path, asked = _parsed(self.path)
            content, kind = choose(routes, path, "path")(asked)
            status = HTTPStatus.OK
        except Forbidden as error:
            status, (content, kind) = HTTPStatus.FORBIDDEN, _error(str(error))
        except UserError as error:
            status, (content, kind) = HTTPStatus.BAD_REQUEST, _error(str(error))
        except Exception:
            logger.exception("drawing failed")
            status, (content, kind) = HTTPStatus.INTERNAL_SERVER_ERROR, _error(FAULT)
        self.send_response(status)
        headers = HEADERS | {"Content-Type": kind, "Content-Length": str(len(content))}
        for name, value in headers.items():
            self.send_header(name, value)
        with contextlib.suppress(ConnectionError):  # the page may have asked for something else
            self.end_headers()
            self.wfile.write(content)

    def _check_host(self) -> None:
        """Another site whose name leads here must not use the server."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in (LOCAL, "localhost"):
            raise Forbidden("Host", host, LOCAL)

    def _page(self, asked: dict[str, str]) -> tuple[bytes, str]:
        return self.server.desk.page().encode(), "text/html; charset=utf-8"

    def _draw(self, asked: dict[str, str]) -> tuple[bytes, str]:
        return _json(self.server.desk.answer(asked))

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


def _parsed(path: str) -> tuple[str, dict[str, str]]:
    """The path of a request and what it asks by name; InvalidValue for what is none."""
    try:
        url = urlsplit(path)
        return url.path, {name: values[-1] for name, values in parse_qs(url.query).items()}
    except ValueError as error:
        raise InvalidValue("path", path, f"one that can be read: {error}") from None


def _json(value: Any) -> tuple[bytes, str]:
    return json.dumps(value, allow_nan=False).encode(), "application/json"


def _error(sentence: str) -> tuple[bytes, str]:
    return _json({"error": sentence})
