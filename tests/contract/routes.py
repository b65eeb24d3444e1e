"""Every request that the route table knows, so that a new route can't be forgotten."""

from collections.abc import Iterator

from api.app import create_app
from shared.settings import Settings

SAFE = ("GET", "HEAD", "OPTIONS")


def requests_of(methods: tuple[str, ...] | None = None, **values: str) -> Iterator[tuple[str, str]]:
    """Method and path of every route, with these values in the place of its variables."""
    app = create_app(Settings(redis_url="unix:///nowhere"))
    given = {"job_id": "job_0", "reference": "line", "name": "icon.svg"} | values
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("path:", "")
        for name in rule.arguments:
            path = path.replace(f"<{name}>", given[name])
        for method in sorted(rule.methods or ()):
            if methods is None or method in methods:
                yield method, path


WRITES = [(m, p) for m, p in requests_of() if m not in SAFE]
