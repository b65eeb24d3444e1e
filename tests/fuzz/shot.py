"""One request, byte by byte, so that it can be kept and sent again."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A request; none of it need be well-formed."""

    head: bytes
    """Request line and headers, up to the empty line and with it."""
    body: bytes
    is_http: bool = True
    """Whether the head is as HTTP wants it, so that there must be an answer."""

    @classmethod
    def of(
        cls, method: str, target: str, headers: Mapping[str, str], body: bytes, *, host: str = "x"
    ) -> "Shot":
        """A request with the length of its body, unless the headers say how it is sent."""
        sent = {"Host": host, "Connection": "close", **headers}
        if not {"content-length", "transfer-encoding"} & {name.lower() for name in sent}:
            sent["Content-Length"] = str(len(body))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {text}" for name, text in sent.items())]
        return cls(head="\r\n".join([*lines, "", ""]).encode("latin-1", "replace"), body=body)

    def save(self, path: Path) -> None:
        """For `load`."""
        parts = {"head": self.head, "body": self.body}
        texts = {name: base64.b64encode(part).decode() for name, part in parts.items()}
        path.write_text(json.dumps({**texts, "is_http": self.is_http}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Shot":
        """What `save` has written."""
        kept = json.loads(path.read_text())
        head, body = (base64.b64decode(kept[name]) for name in ("head", "body"))
        return cls(head=head, body=body, is_http=kept["is_http"])

    def __str__(self) -> str:
        return repr(self.head[:300] + self.body[:200])
