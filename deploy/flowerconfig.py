"""Flower as the local stack and docker-compose.yml run it.

Passwords and broker come in here: every user of the machine can read a command line.
"""

import os
import sys
from pathlib import Path

from celery import current_app

from shared.broker import Broker
from shared.redis_url import RedisUrl

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

_secret = os.environ.get("ROWMILL_REDIS_PASSWORD", "")
if _file := os.environ.get("ROWMILL_REDIS_PASSWORD_FILE"):
    _secret = Path(_file).read_text().rstrip("\n")
_redis_url = RedisUrl(os.environ["ROWMILL_REDIS_URL"]).with_password(_secret)
_broker = Broker.of(_redis_url, os.environ.get("ROWMILL_BROKER_URL", ""))
current_app.conf.update(_broker.configuration)

# Flower asks live workers for their queues. With none alive it shows the backlog of this one.
current_app.conf.task_default_queue = "work"
