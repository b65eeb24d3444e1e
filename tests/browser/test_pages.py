"""What holds of every page: style, safety, width, problems."""

import pytest
import requests
from playwright.sync_api import expect

from tests.browser.visits import DESKTOP, PHONE, OpenPage, assert_accessible, assert_fits
from tests.live_stack import Api

PAGES = ("/", "/docs", "/ui/jobs", "/ui/models/churn", "/ui/nothing")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_every_page_is_accessible_and_fits(
    open_page: OpenPage, path: str, scheme: str, viewport: dict[str, int]
) -> None:
    page = open_page(path, color_scheme=scheme, viewport=viewport)

    assert_accessible(page)
    assert_fits(page)


def test_the_dark_scheme_is_dark(open_page: OpenPage) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"

    light = open_page("/", color_scheme="light").evaluate(ground)
    dark = open_page("/", color_scheme="dark").evaluate(ground)

    assert light == "rgb(246, 247, 249)"
    assert dark == "rgb(16, 20, 26)"


def test_the_first_key_leads_past_the_navigation(open_page: OpenPage) -> None:
    page = open_page("/")

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.locator("#main")).to_be_focused()


def test_a_problem_of_a_page_is_a_page(open_page: OpenPage) -> None:
    page = open_page("/ui/nothing")

    assert page.get_by_role("heading", name="Not found").is_visible()
    assert page.get_by_role("link", name="All models").is_visible()


@pytest.mark.parametrize("path", PAGES)
def test_pages_say_what_browsers_may_load_and_who_may_frame_them(api: Api, path: str) -> None:
    headers = requests.get(api.url + path, timeout=30).headers

    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


def test_no_page_holds_script_or_style_of_its_own(api: Api) -> None:
    for path in PAGES:
        text = requests.get(api.url + path, timeout=30).text

        assert "<style" not in text
        assert " style=" not in text
        assert "<script>" not in text


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ],
)
def test_no_other_site_can_write_through_a_page(api: Api, headers: dict[str, str]) -> None:
    answer = requests.post(f"{api.url}/ui/anything", headers=headers, timeout=30)

    assert answer.status_code == 403
    assert "another site" in answer.text


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {}])
def test_pages_themselves_may_write_and_so_may_programs(api: Api, headers: dict[str, str]) -> None:
    own = {"Origin": api.url} | headers

    assert requests.post(f"{api.url}/ui/anything", headers=own, timeout=30).status_code == 404


def test_files_of_a_page_are_kept_by_browsers_until_they_change(api: Api) -> None:
    page = requests.get(api.url, timeout=30).text
    path = page.split('rel="stylesheet" href="')[1].split('"')[0]

    dated = requests.get(api.url + path, timeout=30)
    undated = requests.get(api.url + path.partition("?")[0], timeout=30)

    assert dated.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "max-age=31536000" not in undated.headers["Cache-Control"]
    assert dated.text == undated.text
