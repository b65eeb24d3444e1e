"""The files that pages are made with: style, scripts, icon.

Their URLs change with their content, so browsers may keep them for good.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from flask import Flask, Response, request, send_from_directory

ROOT = Path(__file__).parents[1] / "static"

KEPT_SECONDS = 365 * 24 * 3600
"""As long as any cache keeps anything."""

DIGEST_CHARS = 12


@dataclass(frozen=True, kw_only=True)
class Assets:
    """The files under a directory and a digest of each, by their path in it."""

    root: Path
    digests: dict[str, str]

    @classmethod
    def under(cls, root: Path) -> "Assets":
        """All files there are now."""
        files = [path for path in root.rglob("*") if path.is_file()]
        digests = {str(path.relative_to(root)): _digest(path) for path in files}
        return cls(root=root, digests=digests)

    def url(self, name: str) -> str:
        """The path of a file, for use in a page."""
        return f"/static/{name}?v={self.digests[name]}"

    def send(self, name: str) -> Response:
        """A file; one that is asked for by its digest may be kept. 404 if there is none."""
        is_dated = request.args.get("v") == self.digests.get(name, "")
        response = send_from_directory(self.root, name, max_age=KEPT_SECONDS if is_dated else 0)
        response.cache_control.immutable = is_dated
        return response


def install(app: Flask) -> None:
    """Serve the files under `/static/`, and tell templates their URLs by `asset(name)`."""
    assets = Assets.under(ROOT)

    @app.get("/static/<path:name>", endpoint="asset")
    def send(name: str) -> Response:
        return assets.send(name)

    app.jinja_env.globals["asset"] = assets.url


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:DIGEST_CHARS]
