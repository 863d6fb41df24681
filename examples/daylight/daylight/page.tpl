<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Daylight</title>
  <link rel="stylesheet" href="/style.css">
</head>
<body>
  <h1>{{heading}}</h1>
  <form action="/">
% for field, kind in (("latitude", "text"), ("longitude", "text"), ("date", "date")):
    <label>{{field.capitalize()}}<input name="{{field}}" type="{{kind}}" required value="{{texts.get(field, "")}}"></label>
% end
    <button>Look</button>
  </form>
% for problem in problems.values():
  <p class="problem" role="alert">{{problem}}</p>
% end
% if facts:
  <dl>
%   for name, value in facts.items():
    <dt>{{name}}</dt><dd>{{value}}</dd>
%   end
  </dl>
  <svg viewBox="0 0 364 240" role="img" aria-label="Daylight over the year">
    <path class="hours" d="M0 60h364M0 120h364M0 180h364"/>
    <path class="today" d="M{{today}} 0v240"/>
    <polyline points="{{curve}}"/>
  </svg>
  <p><small>Hours of daylight over the year, from 0 at the bottom to 24 at the top. The line is your day.</small></p>
% end
  <footer>daylight {{version}} · release <code>{{release}}</code></footer>
</body>
</html>
