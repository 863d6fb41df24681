"""What is answered to whom: `application` is the whole of it, as WSGI."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

from bottle import Bottle, HTTPError, HTTPResponse, request

from . import page, sun
from .question import FIELDS, UnclearError, parse

RELEASE = os.environ.get("STAITH_RELEASE", "unreleased")
STYLE = (Path(__file__).parent / "style.css").read_bytes()

# With every response, errors included. Staith takes the first as proof of which release is running.
HEADERS = [
    ("x-staith-release", RELEASE),
    ("x-content-type-options", "nosniff"),
    # A second wall behind the escaping: even if markup got into the page, a browser would run no script.
    ("content-security-policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'"),
]

routes = Bottle()


def application(environ, start_response):
    """The routes, with the headers that every response has."""

    def start_with_headers(status, headers, exc_info=None):
        return start_response(status, headers + HEADERS, exc_info)

    return routes(environ, start_with_headers)


@routes.get("/")
def show():
    """The page; before anything is asked, it shows Greenwich today."""
    asked = _asked()
    texts = asked or {"latitude": "51.48", "longitude": "0", "date": _today()}
    try:
        return page.render(texts, parse(texts), {}, RELEASE)
    except UnclearError as unclear:
        return HTTPResponse(page.render(texts, None, unclear.problems, RELEASE), 400)


@routes.get("/api/daylight")
def answer():
    """The same for programs; the date may be left out for today."""
    try:
        question = parse({"date": _today(), **_asked()})
    except UnclearError as unclear:
        return HTTPResponse({"problems": unclear.problems}, 400)
    day = sun.day(question.latitude, question.longitude, question.date)
    return {
        "sunrise": _iso(day.sunrise),
        "noon": _iso(day.noon),
        "sunset": _iso(day.sunset),
        "daylight_minutes": round(day.light.total_seconds() / 60),
    }


@routes.get("/healthz")
def health():
    """Answers as soon as the application is able to."""
    return _text("ok\n")


@routes.get("/style.css")
def style():
    return HTTPResponse(STYLE, content_type="text/css; charset=utf-8")


def _error(error: HTTPError):
    # Bottle would answer with a page that repeats the address.
    return _text(f"{error.status_line}\n", error.status_code)


routes.default_error_handler = _error


def _text(text: str, status: int = 200) -> HTTPResponse:
    return HTTPResponse(text, status, content_type="text/plain; charset=utf-8")


def _asked() -> dict[str, str]:
    """What stands in the address; text that is no UTF-8 counts as empty, and as nothing that makes sense."""
    return {field: request.query.getunicode(field, "") for field in FIELDS if field in request.query}


def _today() -> str:
    return datetime.now(timezone.utc).date().isoformat()


def _iso(when: datetime | None) -> str | None:
    return when and when.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
