"""Pictures of the pages of a running stack: `python -m tests.browser.screenshots DIRECTORY URL`.

Every page is taken at the widths of a phone and of a desk, light and dark. Further paths are taken,
too: `… DIRECTORY URL /ui/jobs`.
"""

import shutil
import sys
from pathlib import Path

import requests
from playwright.sync_api import sync_playwright

from tests.browser.visits import DESKTOP, PHONE, Visit

SCHEMES = ("light", "dark")


def paths_of(url: str) -> list[str]:
    """The pages there are, as far as they have a fixed path or are of a model."""
    models = requests.get(f"{url}/models", timeout=30).json()["models"]
    return ["/", "/ui/nothing", *(f"/ui/models/{model['name']}" for model in models)]


def take(directory: Path, url: str, paths: list[str]) -> None:
    """Write `<page>-<width>-<scheme>.png` into `directory` for each of the pages."""
    directory.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for scheme in SCHEMES:
            for viewport in (PHONE, DESKTOP):
                visit = Visit(browser, url, viewport=viewport, color_scheme=scheme)
                for path in paths:
                    visit.page.goto(path)
                    name = path.strip("/").replace("/", "-") or "home"
                    file = directory / f"{name}-{viewport['width']}-{scheme}.png"
                    visit.page.screenshot(path=file, full_page=True)
                print(*visit.end(), sep="\n")
        browser.close()


if __name__ == "__main__":
    target, address, *further = sys.argv[1:]
    take(Path(target), address, [*paths_of(address), *further])
