"""A browser on the real stack: Debian's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.visits import OpenPage, Visit
from tests.live_stack import Api


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Started for one module at a time: while it runs, its thread belongs to an event loop, in
    which other tests could start none."""
    executable = shutil.which("chromium")
    if executable is None:
        reason = "No chromium is installed; on Debian: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # Its sandbox does not work for root, whom containers run tests as.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=options)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, api: Api) -> Iterator[OpenPage]:
    """Opens a path of the stack in a browser of its own, with these options.

    What goes wrong in a page fails the test at its end: see `Visit`.
    """
    visits = []

    # object: Playwright's own options, some twenty of them.
    def opened(path: str, **options: object) -> Page:
        visit = Visit(browser, api.url, **options)
        visits.append(visit)
        visit.page.goto(path)
        return visit.page

    yield opened
    complaints = [complaint for visit in visits for complaint in visit.end()]
    assert not complaints
