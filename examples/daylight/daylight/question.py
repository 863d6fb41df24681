"""What visitors ask, and what of it makes sense."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

FIELDS = ("latitude", "longitude", "date")
YEARS = range(1900, 2101)

# Stricter than float() and date.fromisoformat(), which also take "nan", "1_0" and, some of them, "20240101".
_NUMBER = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{1,12})?")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")


@dataclass(frozen=True)
class Question:
    """A place, in degrees north and east, and a date."""

    latitude: float
    longitude: float
    date: date


class UnclearError(Exception):
    """What is wrong with a question, by field, in words for the visitor."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = problems


def parse(texts: Mapping[str, str]) -> Question:
    """Reads a question; complains of everything that is wrong with it at once."""
    parsers = {"latitude": _latitude, "longitude": _longitude, "date": _date}
    values, problems = {}, {}
    for field in FIELDS:
        try:
            values[field] = parsers[field](texts.get(field, "").strip())
        except ValueError as problem:
            problems[field] = str(problem)
    if problems:
        raise UnclearError(problems)
    return Question(**values)


def _latitude(text: str) -> float:
    return _degrees(text, 90, "Latitude should be a number from -90 (south) to 90 (north), such as 51.48.")


def _longitude(text: str) -> float:
    return _degrees(text, 180, "Longitude should be a number from -180 (west) to 180 (east), such as 7.5.")


def _degrees(text: str, limit: int, problem: str) -> float:
    if not _NUMBER.fullmatch(text) or abs(float(text)) > limit:
        raise ValueError(problem)
    return float(text)


def _date(text: str) -> date:
    problem = f"Date should be a day from {YEARS[0]} to {YEARS[-1]}, such as {YEARS[-1]}-12-31."
    match = _DATE.fullmatch(text)
    if not match or int(match[1]) not in YEARS:
        raise ValueError(problem)
    try:
        return date(*map(int, match.groups()))
    except ValueError:
        raise ValueError(problem) from None
