"""Visits to the pages of a running stack, and what must be true of every one of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

TIMEOUT_MS = 30_000

PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 800}

PARTS_OF_A_PAGE = ("stylesheet", "script", "image", "font")

SERIOUS = ("serious", "critical")

OpenPage = Callable[..., Page]
"""Opens a path, with the options of a Playwright context: `viewport`, `color_scheme` …"""


class Visit:
    """One user's browser, which notes what a page must not do: write errors into the console, raise
    them, ask another host for something, or name a part of it that is not there."""

    # Any: Playwright's own options.
    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        """A browser without a past. Its contents are closed by `end`."""
        self.url = url
        self.complaints: list[str] = []
        context = browser.new_context(base_url=url, **({"viewport": DESKTOP} | options))
        context.set_default_timeout(TIMEOUT_MS)
        context.on("request", self._note_request)
        context.on("response", self._note_response)
        context.on("console", self._note_message)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        self.page = context.new_page()

    def end(self) -> list[str]:
        """What there was to complain of."""
        self.page.context.close()
        return self.complaints

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.complaints.append(f"asked another host: {request.url}")

    def _note_response(self, response: Response) -> None:
        if response.status >= 400 and response.request.resource_type in PARTS_OF_A_PAGE:
            self.complaints.append(f"{response.status} {response.url}")

    def _note_message(self, message: ConsoleMessage) -> None:
        # The browser itself writes this about any answer with a status of 400 or more.
        is_status = message.text.startswith("Failed to load resource: the server responded")
        if message.type == "error" and not is_status:
            self.complaints.append(f"console: {message.text}")


@contextmanager
def visits_to(browser: Browser, url: str) -> Iterator[OpenPage]:
    """Opens paths of a stack, each in a browser of its own. What goes wrong in a page fails at the
    end: see `Visit`."""
    visits = []

    # object: Playwright's own options, some twenty of them.
    def opened(path: str, **options: object) -> Page:
        visit = Visit(browser, url, **options)
        visits.append(visit)
        visit.page.goto(path)
        return visit.page

    yield opened
    complaints = [complaint for visit in visits for complaint in visit.end()]
    assert not complaints


def assert_accessible(page: Page) -> None:
    """axe-core finds nothing serious or critical on the page as it is now."""
    violations = Axe().run(page).response["violations"]
    serious = [
        f"{v['id']} ({v['impact']}): {node['html']}: {node.get('failureSummary', '')}"
        for v in violations
        if v["impact"] in SERIOUS
        for node in v["nodes"]
    ]
    assert not serious, "\n".join(serious)


def drop(page: Page, selector: str, name: str, text: str) -> None:
    """Drop a file onto an element, as a mouse does."""
    make = "([n, t]) => { const d = new DataTransfer(); d.items.add(new File([t], n)); return d; }"
    transfer = page.evaluate_handle(make, [name, text])
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event(selector, event, {"dataTransfer": transfer})


def assert_fits(page: Page) -> None:
    """Nothing has to be scrolled sideways but what scrolls in itself."""
    widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1], widths
