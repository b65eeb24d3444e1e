"""Signing in, a job, its download, signing out: as a user does where API keys are needed."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from shared.api_keys import Scope, Token
from shared.job_store.api_keys import ApiKeys
from shared.job_store.connection import connect
from tests.browser.visits import DESKTOP, PHONE, OpenPage, assert_accessible, assert_fits, visits_to
from tests.live_stack import Api, live_stack, new_token


@pytest.fixture(scope="module")
def stack(run_directory: Path, models_dir: Path) -> Iterator[Api]:
    """One that takes keys."""
    with live_stack(run_directory / "b", models_dir, auth="required") as api:
        yield api


@pytest.fixture
def open_page(browser: Browser, stack: Api) -> Iterator[OpenPage]:
    """As that of all browser tests, on this stack."""
    with visits_to(browser, stack.url) as opened:
        yield opened


@pytest.mark.parametrize(("viewport", "color_scheme"), [(PHONE, "dark"), (DESKTOP, "light")])
def test_from_signing_in_to_a_download_and_out(
    stack: Api, open_page: OpenPage, viewport: dict[str, int], color_scheme: str, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("name,x\n=1+1,6\nb,7\n")
    page = open_page("/ui/models/line", viewport=viewport, color_scheme=color_scheme)
    assert_accessible(page)
    assert_fits(page)
    assert page.get_by_label("API key").get_attribute("type") == "password"
    assert page.get_by_role("link", name="Sign in").count() == 0

    page.get_by_label("API key").fill("rowmill_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known here")
    assert_accessible(page)
    page.get_by_label("API key").fill(f" {stack.token} ")
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("heading", name="line", exact=True)).to_be_visible()
    expect(page.get_by_text("Signed in as test")).to_be_visible()
    assert_accessible(page)
    assert_fits(page)

    page.get_by_label("Drop a file here").set_input_files(table)
    page.get_by_text("Options", exact=True).click()
    page.get_by_label("Key column").fill("name")
    page.get_by_role("button", name="Score the file").click()
    expect(page.locator("#status")).to_have_text("succeeded")
    with page.expect_download() as plain:
        page.get_by_role("link", name="CSV", exact=True).first.click()
    with page.expect_download() as guarded:
        page.get_by_role("link", name="CSV for Excel").first.click()
    assert "=1+1" in plain.value.path().read_text()
    assert "'=1+1" in guarded.value.path().read_text()

    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/ui/jobs")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_page_that_is_open_leads_to_signing_in_when_its_key_is_revoked(
    stack: Api, open_page: OpenPage
) -> None:
    token = new_token(stack.redis_url, Scope.READ, Scope.SUBMIT)
    job = stack.sent_with(token).submit("x\n" + "1\n" * 20_000, model="slow", wait=0).json()
    page = open_page(f"/ui/jobs/{job['id']}")
    page.get_by_label("API key").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Cancel the job")).to_be_visible()

    parsed = Token.parse(token)
    assert parsed
    with closing(connect(stack.redis_url)) as redis:
        ApiKeys(redis).revoke(parsed.key_id)

    expect(page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=20_000)
    stack.delete(f"/jobs/{job['id']}")
