"""When does the sun rise and set? A page, a JSON API, and the little astronomy behind them."""

VERSION = "1.0.0"
