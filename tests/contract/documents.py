"""Reads the pages of `docs/`: code blocks, tables, HTTP messages, and what varies between runs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
HTTP = DOCS / "reference/http.md"
PAGES = [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in ("README.md", "models/README.md",
         "CONTRIBUTING.md", "CHANGELOG.md"))]  # fmt: skip

VOLATILE = {"sha256", "created_at", "started_at", "finished_at", "expires_at", "rows_per_second",
            "artifact", "libraries", "metrics", "versions"}  # fmt: skip
"""Members of JSON documents that differ from run to run, or by the versions installed."""

_JOB_ID = re.compile(r"job_[0-9a-f]{32}")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Message:
    """A request or an answer: its first line, headers and body."""

    start: str
    headers: dict[str, str]
    body: str


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of a page's code blocks, in order."""
    return [(match[1], match[2]) for match in _BLOCK.finditer(page.read_text())]


def exchanges(page: Path) -> Iterator[tuple[Message, Message]]:
    """The page's `http` blocks, which are requests and their answers by turns."""
    messages = [_message(text) for language, text in blocks(page) if language == "http"]
    return zip(messages[::2], messages[1::2], strict=True)


def _message(text: str) -> Message:
    head, _, body = text.partition("\n\n")
    start, *lines = head.splitlines()
    return Message(start=start, headers=dict(line.split(": ", 1) for line in lines), body=body)


def commands(text: str) -> list[tuple[str, str]]:
    """Commands of a `console` block and what each prints."""
    return [(match[1], match[2]) for match in _COMMAND.finditer(text)]


def rows(page: Path, heading: str) -> list[tuple[str, ...]]:
    """Cells of the tables between a heading and the next one, without their heads."""
    section = page.read_text().split(f"# {heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [tuple(re.split(r" (?<!\\)\| ", line.strip("| "))) for line in lines]


def names(page: Path, heading: str) -> list[str]:
    """What stands in backticks in the first cells of those tables."""
    return [name for row in rows(page, heading) for name in re.findall(r"`([^`]+)`", row[0])]


class JobIds:
    """Which job of this run stands for which id of a page."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def learn(self, documented: str, real: str) -> None:
        """Pair the ids of two texts by their order."""
        pairs = zip(_JOB_ID.findall(documented), _JOB_ID.findall(real), strict=False)
        self._known |= {page_id: run_id for page_id, run_id in pairs if page_id not in self._known}

    def translate(self, text: str) -> str:
        """`text` with the ids of this run."""
        return _JOB_ID.sub(lambda match: self._known.get(match[0], match[0]), text)


def masked(value: Any, name: str = "") -> Any:
    """A JSON document with its volatile members replaced by their type."""
    if name in VOLATILE:
        if isinstance(value, list):
            return [sorted(item) for item in value]
        return sorted(value) if isinstance(value, dict) else type(value).__name__
    if isinstance(value, dict):
        return {key: masked(member, key) for key, member in value.items()}
    return [masked(item) for item in value] if isinstance(value, list) else value


def member_paths(document: dict[str, Any], *, depth: int = 2) -> set[str]:
    """Dotted names of a document's members, those of nested ones in their parents' place."""
    paths = set()
    for name, value in document.items():
        nested = (
            member_paths(value, depth=depth - 1) if isinstance(value, dict) and depth > 1 else {}
        )
        paths |= {f"{name}.{inner}" for inner in nested} or {name}
    return paths
