from datetime import date, timedelta

from daylight import VERSION, page
from daylight.question import Question

LONDON = Question(51.5, -0.12, date(2024, 6, 20))


def test_nothing_that_a_visitor_types_becomes_markup():
    attack = "\"><script>alert('&')</script>"
    html = page.render({"latitude": attack}, None, {"latitude": attack}, attack)
    assert "<script" not in html
    assert html.count("&quot;&gt;&lt;script&gt;") == 3


def test_the_answer_in_words():
    assert page.facts(LONDON) == {
        "Sunrise": "03:43 UTC",
        "Highest": "12:02 UTC",
        "Sunset": "20:21 UTC",
        "Daylight": "16 h 38 min",
    }


def test_other_days_and_no_sunrise_are_said():
    assert page.facts(Question(-33.87, 151.21, date(2024, 1, 1)))["Sunrise"] == "18:47 UTC on the day before"
    assert page.facts(Question(37.77, -122.42, date(2024, 7, 4)))["Sunset"] == "03:35 UTC on the next day"
    assert "polar day" in page.facts(Question(80, 0, date(2024, 6, 20)))["The sun"]
    assert "polar night" in page.facts(Question(80, 0, date(2024, 12, 20)))["The sun"]


def test_every_day_at_the_date_line_can_be_put_in_words():
    for longitude in (-180, 180):
        for number in range(365):
            assert page.facts(Question(60, longitude, date(2023, 1, 1) + timedelta(days=number)))


def test_the_curve_stays_inside_the_picture():
    points = [tuple(map(float, point.split(","))) for point in page.curve(Question(90, 0, LONDON.date)).split(" ")]
    assert [x for x, _ in points] == list(range(365))
    assert {y for _, y in points} <= {0.0, 240.0}


def test_the_page_says_which_release_it_is():
    html = page.render({}, LONDON, {}, "sha256:0123456789ab" + "f" * 52)
    assert f"daylight {VERSION}" in html
    assert "<code>0123456789ab</code>" in html
