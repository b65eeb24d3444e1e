"""Flower as the local stack and docker-compose.yml run it.

Passwords come in here: every user of the machine can read a command line.
"""

import os
import sys
from pathlib import Path
from urllib.parse import quote

from celery import current_app

_password = os.environ.get("ROWMILL_FLOWER_PASSWORD", "")

if _password:
    basic_auth = [f"rowmill:{_password}"]
elif os.environ.get("ROWMILL_FLOWER_LOGIN") == "required":
    # Whoever reaches Flower sees all jobs' ids and can stop workers.
    sys.exit("Flower is published, so it needs a password: set ROWMILL_FLOWER_PASSWORD.")

# The workers send events anyway (`-E`); switching them on again and again is only noise.
enable_events = False

# A killed worker says no goodbye and would count as online for ever. Heartbeats come every 2 s.
purge_offline_workers = 10

# Flower asks live workers for their queues. With none alive it shows the backlog of this one.
current_app.conf.task_default_queue = "work"

if _file := os.environ.get("ROWMILL_REDIS_PASSWORD_FILE"):
    # Celery looks there first, whatever it is configured with.
    _secret = quote(Path(_file).read_text().strip(), safe="")
    os.environ["CELERY_BROKER_URL"] = os.environ["CELERY_BROKER_URL"].replace(
        "@", f":{_secret}@", 1
    )
