"""Flower as the local stack and docker-compose.yml run it.

Password and broker come in here: every user of the machine can read a command line.
"""

import os

from celery import current_app

from shared.broker import Broker

_password = os.environ.get("ROWMILL_FLOWER_PASSWORD", "")

if _password:
    basic_auth = [f"rowmill:{_password}"]

# The workers send events anyway (`-E`); switching them on again and again is only noise.
enable_events = False

# A killed worker says no goodbye and would count as online for ever. Heartbeats come every 2 s.
purge_offline_workers = 10

_broker = Broker.of(os.environ["ROWMILL_REDIS_URL"], os.environ.get("ROWMILL_BROKER_URL", ""))
current_app.conf.update(_broker.configuration)

# Flower asks live workers for their queues. With none alive it shows the backlog of this one.
current_app.conf.task_default_queue = "work"
