from datetime import date, datetime, timedelta, timezone

import pytest

from daylight import sun


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


# Almanac times, rounded to the minute.
@pytest.mark.parametrize(
    ("place", "latitude", "longitude", "sunrise", "sunset"),
    [
        ("London in June", 51.5, -0.12, "2024-06-20 03:43", "2024-06-20 20:21"),
        ("London in December", 51.5, -0.12, "2024-12-21 08:04", "2024-12-21 15:53"),
        ("New York in November", 40.71, -74.01, "2024-11-03 11:29", "2024-11-03 21:50"),
        ("San Francisco, whose sun sets on the next day", 37.77, -122.42, "2024-07-04 12:53", "2024-07-05 03:35"),
        ("Sydney, whose sun rises on the day before", -33.87, 151.21, "2023-12-31 18:47", "2024-01-01 09:09"),
    ],
)
def test_almanac(place, latitude, longitude, sunrise, sunset):
    noon = (at(sunrise) + (at(sunset) - at(sunrise)) / 2) + timedelta(hours=longitude / 15)
    day = sun.day(latitude, longitude, noon.date())
    assert abs(day.sunrise - at(sunrise)) < timedelta(minutes=2), place
    assert abs(day.sunset - at(sunset)) < timedelta(minutes=2), place
    assert day.light == day.sunset - day.sunrise


@pytest.mark.parametrize("latitude", [69.65, 90.0])
def test_polar_day_and_night_in_north_and_south(latitude):
    june, december = date(2024, 6, 21), date(2024, 12, 21)
    for where, on, light in [
        (latitude, june, 24),
        (latitude, december, 0),
        (-latitude, june, 0),
        (-latitude, december, 24),
    ]:
        day = sun.day(where, 18.96, on)
        assert (day.sunrise, day.sunset, day.light) == (None, None, timedelta(hours=light))


def test_day_and_night_are_nearly_equal_everywhere_at_the_equinox():
    for latitude in range(-60, 61, 10):
        assert abs(sun.day(latitude, 0, date(2024, 3, 20)).light - timedelta(hours=12)) < timedelta(minutes=20)


def test_every_place_and_day_has_an_answer_that_can_be():
    for latitude in (-90, -89.999, -67, -66.5, -23, 0, 48, 65.7, 66.5, 67, 89.999, 90):
        for longitude in (-180, 0, 180):
            for number in range(0, 366, 3):
                day = sun.day(latitude, longitude, date(2100, 1, 1) + timedelta(days=number % 365))
                assert timedelta(0) <= day.light <= timedelta(hours=24)
                assert (day.sunrise is None) == (day.sunset is None)
