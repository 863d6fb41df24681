from datetime import date

import pytest

from daylight.question import FIELDS, Question, UnclearError, parse

GOOD = {"latitude": "51.48", "longitude": "-0.5", "date": "2024-02-29"}


def test_a_good_question():
    assert parse(GOOD) == Question(51.48, -0.5, date(2024, 2, 29))


def test_spaces_around_are_forgiven():
    assert parse({field: f" {text}\t" for field, text in GOOD.items()}) == parse(GOOD)


@pytest.mark.parametrize(
    ("field", "text"),
    [("latitude", "90"), ("latitude", "-90.0"), ("longitude", "+180"), ("longitude", "-180"), ("date", "1900-01-01")],
)
def test_limits_are_within(field, text):
    assert parse({**GOOD, field: text})


@pytest.mark.parametrize("text", ["", "north", "nan", "inf", "1e1", "1_0", "5,5", "٥", "90.0000001", "-91", "9" * 400])
def test_bad_latitudes(text):
    with pytest.raises(UnclearError, match="Latitude should be") as caught:
        parse({**GOOD, "latitude": text})
    assert list(caught.value.problems) == ["latitude"]


@pytest.mark.parametrize("text", ["180.01", "-181", "0x10", "--1", "<script>"])
def test_bad_longitudes(text):
    with pytest.raises(UnclearError, match="Longitude should be"):
        parse({**GOOD, "longitude": text})


@pytest.mark.parametrize(
    "text", ["", "2023-02-29", "20240101", "2024-W01-1", "1899-12-31", "2101-01-01", "2024-01-010", "２024-01-01"]
)
def test_bad_dates(text):
    with pytest.raises(UnclearError, match="Date should be"):
        parse({**GOOD, "date": text})


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(UnclearError) as caught:
        parse({})
    assert tuple(caught.value.problems) == FIELDS
