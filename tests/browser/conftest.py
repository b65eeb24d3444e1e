"""A browser on the real stack: Debian's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.visits import TIMEOUT_MS, OpenPage, visits_to
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
        # Pages look every second, at jobs whose chunks take two; Playwright would wait for five.
        expect.set_options(timeout=TIMEOUT_MS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, api: Api) -> Iterator[OpenPage]:
    with visits_to(browser, api.url) as opened:
        yield opened
