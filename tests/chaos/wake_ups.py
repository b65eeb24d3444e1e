"""Celery's messages in Redis, lost, doubled and forged."""

import json
import random
import uuid
from typing import Any

from redis import Redis

from shared.dispatch import OWN_QUEUE_KEPT_SECONDS, SCORE_CHUNKS, WORK_QUEUE

UNACKED_KEYS = ("unacked", "unacked_index", "unacked_mutex")
MAX_COPIES = 20
MAX_REMEMBERED = 200


class WakeUps:
    """Tampers with the lists in which messages wait. Not safe to share by threads."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._remembered: list[tuple[str, bytes]] = []

    def copy(self, chance: random.Random) -> dict[str, Any]:
        """Push again what waits now and what waited once."""
        waiting = [
            (queue, message)
            for queue in self._queues()
            for message in self._redis.lrange(queue, 0, 50)
        ]
        self._remembered = [*self._remembered, *waiting][-MAX_REMEMBERED:]
        copies = chance.choices(self._remembered, k=chance.randint(1, MAX_COPIES))
        for queue, message in copies:
            self._push(chance, queue, message)
        return {"copies": len(copies), "waiting": len(waiting)}

    def forge(self, chance: random.Random) -> dict[str, Any]:
        """Push messages that nobody sent: most of them as if there was work, some of them wrong."""
        count = chance.randint(1, MAX_COPIES)
        for _ in range(count):
            task, kwargs = chance.choice(
                [
                    (SCORE_CHUNKS, {}),
                    (SCORE_CHUNKS, {}),
                    (SCORE_CHUNKS, {"job_id": f"job_{0:032x}", "chunk": 0}),
                    ("no_such_task", {}),
                ]
            )
            queue = chance.choice(sorted({WORK_QUEUE, *self._queues()}))
            self._push(chance, queue, message(task, kwargs, queue=queue))
        return {"forged": count}

    def delete(self) -> dict[str, Any]:
        """Delete all that waits."""
        queues = self._queues()
        return {"deleted": self._redis.delete(*queues) if queues else 0}

    def delete_unacked(self) -> dict[str, Any]:
        """Delete what Celery believes to be under way."""
        return {"deleted": self._redis.delete(*UNACKED_KEYS)}

    def _queues(self) -> list[str]:
        """The lists there are: the queue of all workers and those of single ones."""
        keys = self._redis.scan_iter(f"{WORK_QUEUE}*", count=1000, _type="list")
        return sorted(key.decode() for key in keys)

    def _push(self, chance: random.Random, queue: str, text: bytes | str) -> None:
        """To either end: LPUSH is where Celery adds, RPUSH is what it takes next.

        The queue of a single worker, which may be gone, expires after every push as with Celery.
        """
        (self._redis.lpush if chance.random() < 0.5 else self._redis.rpush)(queue, text)
        if queue != WORK_QUEUE:
            self._redis.expire(queue, OWN_QUEUE_KEPT_SECONDS)


def message(task: str, kwargs: dict[str, Any], *, queue: str) -> str:
    """A message as Celery writes it, protocol 2 over kombu's Redis transport."""
    task_id = str(uuid.uuid4())
    body = json.dumps([[], kwargs, {"callbacks": None, "errbacks": None, "chain": None}])
    return json.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"lang": "py", "task": task, "id": task_id, "root_id": task_id},
            "properties": {
                "correlation_id": task_id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )
