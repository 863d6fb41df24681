"""How gunicorn serves the application; it reads this file because it lies where it is started."""

import os

wsgi_app = "daylight.web:application"
bind = f"127.0.0.1:{os.environ.get('PORT', '8080')}"
threads = 8
# On SIGTERM, gunicorn takes no new connections and gives the requests that it has this many seconds.
graceful_timeout = 8
