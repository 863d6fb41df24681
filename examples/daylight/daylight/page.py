"""The page that visitors see."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path

from bottle import SimpleTemplate

from . import VERSION, sun
from .question import Question

# Change this line and release again: the page changes, and no visitor sees an error while it does.
HEADING = "When does the sun rise?"

# Escapes whatever stands in {{ }}.
_TEMPLATE = SimpleTemplate((Path(__file__).parent / "page.tpl").read_text(encoding="utf-8"))


def render(texts: Mapping[str, str], question: Question | None, problems: Mapping[str, str], release: str) -> str:
    """The page for what the visitor typed: with the answer if it is a question, else with what is wrong."""
    return _TEMPLATE.render(
        heading=HEADING,
        texts=texts,
        problems=problems,
        facts=facts(question) if question else {},
        curve=curve(question) if question else "",
        today=(question.date - date(question.date.year, 1, 1)).days if question else 0,
        version=VERSION,
        release=release.split(":")[-1][:12],
    )


def facts(question: Question) -> dict[str, str]:
    """The answer in words."""
    day = sun.day(question.latitude, question.longitude, question.date)
    light = _hours(day.light)
    if day.sunrise is None:
        what = "It does not set: polar day" if day.light else "It does not rise: polar night"
        return {"The sun": what, "Highest": _time(day.noon, question.date), "Daylight": light}
    return {
        "Sunrise": _time(day.sunrise, question.date),
        "Highest": _time(day.noon, question.date),
        "Sunset": _time(day.sunset, question.date),
        "Daylight": light,
    }


def curve(question: Question) -> str:
    """The year's daylight as points of an SVG line: a unit per day to the right, ten per hour upwards."""
    first = date(question.date.year, 1, 1)
    points = []
    for number in range(365):
        day = sun.day(question.latitude, question.longitude, first + timedelta(days=number))
        points.append(f"{number},{240 - day.light / timedelta(hours=0.1):.1f}")
    return " ".join(points)


def _time(when: datetime, on: date) -> str:
    rounded = when + timedelta(seconds=30)
    days = (rounded.date() - on).days
    suffix = {0: "", 1: " on the next day", -1: " on the day before"}[days]
    return f"{rounded:%H:%M} UTC{suffix}"


def _hours(length: timedelta) -> str:
    minutes = round(length / timedelta(minutes=1))
    return f"{minutes // 60} h {minutes % 60:02} min"
