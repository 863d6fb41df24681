"""Where the sun stands. Pure functions of place and time.

The formulas are those of the Solar Calculator of NOAA, the oceanic and atmospheric administration of the United
States, after Jean Meeus, "Astronomical Algorithms". Between 1900 and 2100 they are good to a minute, except near
the poles, where the sun moves almost along the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from math import acos, asin, cos, degrees, radians, sin, tan

J2000 = datetime(2000, 1, 1, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)

# Degrees from the zenith to the sun's centre when its upper edge touches the horizon: a right angle, half the
# sun's width, and what the air bends.
ZENITH_OF_RISE = 90.833


@dataclass(frozen=True)
class Day:
    """A day of sun at some place. All times are UTC."""

    noon: datetime
    """When the sun stands highest."""
    sunrise: datetime | None
    """None where the sun does not rise on that day, or does not set."""
    sunset: datetime | None
    light: timedelta
    """How long the sun is up."""


@dataclass(frozen=True)
class _Sun:
    declination: float
    """Degrees north of the equator."""
    ahead: float
    """Minutes by which a sundial is ahead of a clock (the equation of time)."""


def day(latitude: float, longitude: float, on: date) -> Day:
    """The sun's day at a place, given in degrees north and east, on a date as the sun counts it there."""
    midday = datetime(on.year, on.month, on.day, 12, tzinfo=timezone.utc) - timedelta(minutes=4 * longitude)
    noon = midday - timedelta(minutes=_sun_at(midday).ahead)
    half = _half_day(latitude, _sun_at(noon))
    if half in (timedelta(0), DAY / 2):
        return Day(noon, None, None, 2 * half)
    sunrise = _refined(latitude, midday, noon - half, -1)
    sunset = _refined(latitude, midday, noon + half, +1)
    # On the last days before polar day or night, both are guesses, and may pass each other.
    return Day(noon, sunrise, sunset, max(timedelta(0), min(DAY, sunset - sunrise)))


def _refined(latitude: float, midday: datetime, about: datetime, direction: int) -> datetime:
    """The sun itself moves on between noon and sunset; so once more, from where it is at about that time."""
    sun = _sun_at(about)
    return midday - timedelta(minutes=sun.ahead) + direction * _half_day(latitude, sun)


def _half_day(latitude: float, sun: _Sun) -> timedelta:
    """From noon to sunset; between nothing (polar night) and twelve hours (polar day)."""
    phi, delta = radians(latitude), radians(sun.declination)
    cosine = cos(radians(ZENITH_OF_RISE)) / (cos(phi) * cos(delta)) - tan(phi) * tan(delta)
    return DAY * (acos(max(-1.0, min(1.0, cosine))) / radians(360))


def _sun_at(when: datetime) -> _Sun:
    t = (when - J2000) / (36525 * DAY)  # centuries
    mean_longitude = radians((280.46646 + t * (36000.76983 + t * 0.0003032)) % 360)
    anomaly = radians(357.52911 + t * (35999.05029 - t * 0.0001537))
    eccentricity = 0.016708634 - t * (0.000042037 + t * 0.0000001267)
    centre = (
        sin(anomaly) * (1.914602 - t * (0.004817 + t * 0.000014))
        + sin(2 * anomaly) * (0.019993 - t * 0.000101)
        + sin(3 * anomaly) * 0.000289
    )
    node = radians(125.04 - t * 1934.136)
    longitude = mean_longitude + radians(centre - 0.00569 - 0.00478 * sin(node))
    tilt = radians(23.4392911 - t * (0.0130042 + t * (0.00000016 - t * 0.000000504)) + 0.00256 * cos(node))
    y = tan(tilt / 2) ** 2
    ahead = (
        y * sin(2 * mean_longitude)
        - 2 * eccentricity * sin(anomaly)
        + 4 * eccentricity * y * sin(anomaly) * cos(2 * mean_longitude)
        - y * y * sin(4 * mean_longitude) / 2
        - eccentricity * eccentricity * sin(2 * anomaly) * 5 / 4
    )
    return _Sun(declination=degrees(asin(sin(tilt) * sin(longitude))), ahead=4 * degrees(ahead))
