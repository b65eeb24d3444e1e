"""Pages of jobs: live while they run, whole when they have ended, and of use without script."""

import io
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
import requests
from playwright.sync_api import Page, Request, expect

from tests.browser.visits import DESKTOP, PHONE, OpenPage, assert_accessible, assert_fits
from tests.live_stack import Api

WHOLE_HEADER = "age,city,member\n"
BROKEN_ROW = '"fo,rty",Bonn,true'


def rows(count: int) -> str:
    return "x\n" + "".join(f"{number}\n" for number in range(count))


@pytest.fixture
def running(api: Api) -> Iterator[dict[str, Any]]:
    """A job that takes half a minute unless it is cancelled."""
    job = api.submit(rows(30_000), model="slow", wait=0).json()
    yield job
    api.post(f"/jobs/{job['id']}/cancel")


@pytest.fixture(scope="module")
def forest_job(api: Api, numbers: pd.DataFrame) -> dict[str, Any]:
    """Predictions like those of the training."""
    return dict(api.submit(numbers.to_csv(index=False), model="forest").json())


@pytest.fixture(scope="module")
def partial_job(api: Api) -> dict[str, Any]:
    """One of its three rows has a text for a number, another one no value."""
    body = f"{WHOLE_HEADER}30,Kiel,true\n{BROKEN_ROW}\n,Ulm,false\n"
    return dict(api.submit(body, model="churn").json())


def path_of(job: dict[str, Any]) -> str:
    return f"/ui/jobs/{job['id']}"


def count_of(page: Page) -> int:
    """How many rows are done as far as the page says."""
    return int(page.locator("#rows-done").inner_text().split(" of ")[0].replace(",", ""))


def is_same_page(page: Page) -> bool:
    """Whether the page was not loaded anew since `mark`."""
    return bool(page.evaluate("window.isMarked === true"))


def mark(page: Page) -> None:
    page.evaluate("window.isMarked = true")


def have_clock(page: Page) -> None:
    """Load the page anew with a clock that tests can put forward."""
    page.clock.install()
    page.reload()


def asked_in_ten_seconds(page: Page) -> list[str]:
    """What the page asks for in ten seconds of its own clock."""
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    page.clock.run_for(10_000)
    page.remove_listener("request", note)
    return asked


# --- a job that runs


def test_a_running_job_shows_its_progress_and_first_predictions_by_itself(
    open_page: OpenPage, running: dict[str, Any]
) -> None:
    page = open_page(path_of(running))
    mark(page)

    expect(page.locator("#first-rows tbody tr")).to_have_count(10)

    expect(page.locator("#status")).to_have_text("running")
    before = count_of(page)
    assert 0 < before < 30_000
    page.wait_for_function(
        "before => parseInt(document.querySelector('#progress').getAttribute('value')) > before",
        arg=before,
    )
    assert count_of(page) > before
    expect(page.get_by_text("Time left")).to_be_visible()
    expect(page.get_by_role("img", name="Chunks:")).to_be_visible()
    assert is_same_page(page)


def test_what_was_opened_stays_open_while_the_page_changes(
    open_page: OpenPage, running: dict[str, Any]
) -> None:
    page = open_page(path_of(running))
    page.get_by_text("Delete the job").click()

    with page.expect_response(lambda response: running["id"] in response.url):
        pass
    with page.expect_response(lambda response: running["id"] in response.url):
        pass

    expect(page.get_by_role("button", name="Delete it for good")).to_be_visible()


def test_a_job_is_cancelled_on_its_page(
    api: Api, open_page: OpenPage, running: dict[str, Any]
) -> None:
    page = open_page(path_of(running))

    page.get_by_role("button", name="Cancel the job").click()

    expect(page.locator("#status")).to_have_text("cancelled")
    assert api.get(f"/jobs/{running['id']}").json()["status"] == "cancelled"
    expect(page.get_by_role("button", name="Cancel the job")).to_have_count(0)


def test_a_page_learns_of_the_end_and_asks_no_more(
    api: Api, open_page: OpenPage, running: dict[str, Any]
) -> None:
    page = open_page(path_of(running))
    have_clock(page)
    mark(page)

    api.post(f"/jobs/{running['id']}/cancel")

    expect(page.locator("#status")).to_have_text("cancelled")
    expect(page.locator("#announcement")).to_have_text("The job is cancelled.")
    assert is_same_page(page)
    assert asked_in_ten_seconds(page) == []


def test_a_page_that_nobody_sees_asks_for_nothing_until_it_is_seen(
    open_page: OpenPage, running: dict[str, Any]
) -> None:
    page = open_page(path_of(running))
    have_clock(page)
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"
    assert asked_in_ten_seconds(page)

    page.evaluate(hide % "true")
    assert asked_in_ten_seconds(page) == []

    with page.expect_request(lambda request: running["id"] in request.url):
        page.evaluate(hide % "false")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_a_running_job_is_accessible_and_fits(open_page: OpenPage, running: dict[str, Any]) -> None:
    page = open_page(path_of(running), viewport=PHONE)
    expect(page.locator("#first-rows")).to_be_visible()

    assert_accessible(page)
    assert_fits(page)


# --- a job that has ended


def test_predictions_are_drawn_beside_those_of_the_training(
    open_page: OpenPage, forest_job: dict[str, Any]
) -> None:
    page = open_page(path_of(forest_job))

    plot = page.locator("#plot-1")
    assert plot.get_by_role("img").is_visible()
    assert "this job, 1,000 rows" in plot.inner_text()
    assert "its training sample, 1,000 rows" in plot.inner_text()
    bars, outline = plot.locator("rect.of-job"), plot.locator("polyline.of-training")
    assert bars.count() >= 10
    # Each bar has the height of the training's step: they are predictions of the same rows.
    heights = [float(bar.get_attribute("height") or 0) for bar in bars.all()]
    steps = [point.split(",") for point in (outline.get_attribute("points") or "").split()]
    bottom = max(float(y) for _, y in steps)
    trained = [bottom - float(y) for _, y in steps[::2]]
    assert heights == pytest.approx(trained, abs=max(heights) / 10)


def test_the_numbers_of_a_plot_are_there_as_a_table(
    open_page: OpenPage, forest_job: dict[str, Any]
) -> None:
    page = open_page(path_of(forest_job))

    page.get_by_text("Numbers", exact=True).click()

    table = page.get_by_role("region", name="Numbers of prediction").get_by_role("table")
    shares = [cell.replace("\xa0", " ") for cell in table.locator("td").all_inner_texts()]
    assert sum(float(share.split()[0]) for share in shares[::2]) == pytest.approx(100, abs=2)


def test_classes_are_drawn_as_shares(open_page: OpenPage, partial_job: dict[str, Any]) -> None:
    page = open_page(path_of(partial_job))

    assert page.locator("#plot-1 rect.of-job").count() == 2
    assert page.locator("#plot-1 rect.of-training-bar").count() == 2


def test_of_probabilities_the_most_probable_class_is_drawn(api: Api, open_page: OpenPage) -> None:
    body = f"{WHOLE_HEADER}30,Kiel,true\n20,Bonn,true\n"
    job = api.submit(body, model="churn", output="predict_proba").json()

    page = open_page(path_of(job))

    assert page.get_by_role("heading", name="Most probable class").is_visible()
    assert page.locator("#plot-1 rect.of-training-bar").count() == 2


def test_the_first_rows_are_those_of_the_results(
    api: Api, open_page: OpenPage, forest_job: dict[str, Any]
) -> None:
    page = open_page(path_of(forest_job))

    shown = page.locator("#first-rows tbody tr").all()
    lines = api.get(forest_job["urls"]["results"]).text.splitlines()[1:11]
    assert [
        (row.locator("td").nth(0).inner_text(), row.locator("td").nth(1).get_attribute("title"))
        for row in shown
    ] == [tuple(line.split(",")[:2]) for line in lines]


def test_predictions_are_in_view_before_the_columns_of_the_input(
    api: Api, open_page: OpenPage, numbers: pd.DataFrame
) -> None:
    job = api.submit(numbers.to_csv(index=False), model="forest", join="input").json()

    page = open_page(path_of(job))

    headings = page.locator("#first-rows th").all_inner_texts()
    assert headings == ["row", "prediction", *numbers.columns]


def test_rows_that_are_too_long_to_be_shown_are_said_to_be_scored(
    api: Api, open_page: OpenPage
) -> None:
    body = f"age,city,member\n30,{'a' * 100_000},true\n"
    job = api.submit(body, model="churn", join="input").json()

    page = open_page(path_of(job))

    expect(page.locator("#plot-1").or_(page.get_by_text("too long to be shown"))).to_be_visible()
    assert page.get_by_text("before a row was scored").count() == 0


def test_downloads_are_the_bytes_of_the_api(
    api: Api, open_page: OpenPage, forest_job: dict[str, Any]
) -> None:
    page = open_page(path_of(forest_job))
    links = page.locator("section", has_text="Predictions").locator(".downloads a").all()
    assert len(links) == 6

    for link in links:
        with page.expect_download() as download:
            link.click()
        path = str(link.get_attribute("href"))
        assert download.value.path().read_bytes() == api.get(path).content
        assert download.value.suggested_filename.startswith(forest_job["id"])


def test_row_errors_name_line_and_column_and_show_the_row_as_it_was_sent(
    api: Api, open_page: OpenPage, partial_job: dict[str, Any]
) -> None:
    page = open_page(path_of(partial_job))

    first, second = page.locator("#errors tbody tr").all()
    row, line, column, record, problem = first.locator("td").all_inner_texts()
    assert (row, line, column, record) == ("2", "3", "age", BROKEN_ROW)
    assert "not_a_number" in problem
    assert first.locator("mark").inner_text() == '"fo,rty"'
    assert second.locator("td").nth(1).inner_text() == "4"
    csv = page.locator("section", has_text="Rows without").get_by_role("link", name="CSV").first
    assert api.get(str(csv.get_attribute("href"))).text.count("\n") == 3


def test_rows_of_other_formats_are_shown_as_they_were_sent(api: Api, open_page: OpenPage) -> None:
    record = '{"x": "on, e"}'
    lines = api.submit(
        f'{{"x": 1}}\n{record}\n', model="line", headers={"Content-Type": "application/x-ndjson"}
    ).json()
    parquet = io.BytesIO()
    pd.DataFrame({"x": ["1", "one"]}).to_parquet(parquet)
    table = api.submit(
        parquet.getvalue(),
        model="line",
        headers={"Content-Type": "application/vnd.apache.parquet"},
    ).json()

    page = open_page(path_of(lines))
    assert page.locator("#errors td").all_inner_texts()[:4] == ["2", "2", "x", record]
    assert page.locator("mark").inner_text() == '"on, e"'

    # What has no lines shows none.
    page.goto(path_of(table))
    assert page.locator("#errors td").all_inner_texts()[:3] == ["2", "x", '"one"']
    assert page.locator("mark").inner_text() == '"one"'


def test_failed_rows_are_retried_as_a_job_of_their_own(
    open_page: OpenPage, partial_job: dict[str, Any]
) -> None:
    page = open_page(path_of(partial_job))

    page.get_by_role("button", name="Retry the failed rows").click()

    expect(page.get_by_role("heading", name="Retry with churn")).to_be_visible()
    expect(page.locator("#status")).to_have_text("failed")
    page.get_by_role("link", name=f"…{partial_job['id'][-8:]}").click()
    expect(page.locator("#status")).to_have_text("partially succeeded")


def test_a_failed_job_says_why_and_what_to_do(api: Api, open_page: OpenPage) -> None:
    job = api.submit("x\na\n", model="line").json()

    page = open_page(path_of(job))

    notice = page.locator(".notice-bad").first.inner_text()
    assert "No row could be scored" in notice
    assert "often one column is wrong" in notice
    assert "all_rows_failed" in notice


def test_drift_is_warned_of_and_told_by_feature(
    api: Api, open_page: OpenPage, numbers: pd.DataFrame
) -> None:
    shifted = numbers.assign(a=numbers["a"] + 10)
    job = api.submit(shifted.to_csv(index=False), model="forest").json()

    page = open_page(path_of(job))

    assert "Column 'a'" in page.locator(".notice-warn").inner_text()
    page.get_by_text("Features beside the training").click()
    feature = page.locator("#features tbody tr").first.inner_text()
    assert feature.startswith("a differs")


def test_the_details_name_the_worker_and_the_checksums(
    open_page: OpenPage, forest_job: dict[str, Any]
) -> None:
    page = open_page(path_of(forest_job))

    details = page.locator(".details").inner_text()
    assert forest_job["input"]["sha256"] in details
    assert forest_job["model"]["sha256"] in details
    assert "chunk" in details.partition("Scored by")[2].partition("Input")[0]


def test_a_job_is_deleted_after_a_second_thought(api: Api, open_page: OpenPage) -> None:
    job = api.submit("x\n1\n", model="line").json()
    page = open_page(path_of(job))
    assert not page.get_by_role("button", name="Delete it for good").is_visible()

    page.get_by_text("Delete the job").click()
    page.get_by_role("button", name="Delete it for good").click()

    page.wait_for_url("**/ui/jobs")
    assert api.get(f"/jobs/{job['id']}").status_code == 410
    assert page.goto(path_of(job)).status == 410  # type: ignore[union-attr]
    assert page.get_by_role("heading", name="No longer here").is_visible()


def test_a_job_that_never_was_has_a_page_that_says_so(open_page: OpenPage) -> None:
    page = open_page(f"/ui/jobs/job_{'0' * 32}")

    assert page.get_by_role("heading", name="Not Found").is_visible()
    assert page.get_by_role("link", name="All jobs").is_visible()


def test_no_other_site_can_cancel_a_job(api: Api, running: dict[str, Any]) -> None:
    answer = requests.post(
        f"{api.url}{path_of(running)}/cancel",
        headers={"Sec-Fetch-Site": "cross-site"},
        timeout=30,
    )

    assert answer.status_code == 403
    assert api.get(f"/jobs/{running['id']}").json()["finished_at"] is None


# --- the list


def test_jobs_are_filtered_by_status_and_model(
    open_page: OpenPage, partial_job: dict[str, Any], forest_job: dict[str, Any]
) -> None:
    page = open_page("/ui/jobs")

    page.get_by_label("Status").select_option("partially succeeded")
    page.get_by_label("Model").select_option("churn")
    page.get_by_role("button", name="Filter").click()

    shown = page.locator("#job-list tbody tr")
    expect(page.get_by_title(forest_job["id"])).to_have_count(0)
    expect(shown.get_by_title(partial_job["id"])).to_be_visible()
    assert set(shown.locator(".badge").all_inner_texts()) == {"partially succeeded"}
    page.get_by_role("link", name="Show all").click()
    expect(page.get_by_label("Status")).to_have_value("")


def test_a_filter_that_finds_nothing_says_so(open_page: OpenPage) -> None:
    page = open_page("/ui/jobs?status=receiving&model=deadly")

    assert page.get_by_role("heading", name="No such job").is_visible()


def test_a_long_list_has_pages(api: Api, open_page: OpenPage) -> None:
    for _ in range(3):
        api.submit("x\n1\n", model="echo")
    page = open_page("/ui/jobs?model=echo&limit=2")
    links = page.locator("#job-list td:first-child a")
    newest = [link.get_attribute("title") for link in links.all()]

    page.get_by_role("link", name="Older").click()

    page.wait_for_url("**after=*")
    older = [link.get_attribute("title") for link in links.all()]
    assert len(newest) == 2
    assert max(str(job_id) for job_id in older) < min(str(job_id) for job_id in newest)
    page.get_by_role("link", name="Newest").click()
    expect(links.first).to_have_attribute("title", str(newest[0]))


def test_the_list_follows_jobs_that_run(
    api: Api, open_page: OpenPage, running: dict[str, Any]
) -> None:
    page = open_page("/ui/jobs?model=slow")
    mark(page)
    row = page.locator("#job-list tbody tr", has=page.get_by_title(running["id"]))
    expect(row.get_by_role("progressbar")).to_be_visible()

    api.post(f"/jobs/{running['id']}/cancel")

    expect(row.locator(".badge")).to_have_text("cancelled")
    assert is_same_page(page)


# --- every page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_job_pages_are_accessible_and_fit(
    open_page: OpenPage,
    forest_job: dict[str, Any],
    partial_job: dict[str, Any],
    scheme: str,
    viewport: dict[str, int],
) -> None:
    for path in ("/ui/jobs", path_of(forest_job), path_of(partial_job)):
        page = open_page(path, color_scheme=scheme, viewport=viewport)
        for summary in page.locator("summary").all():
            summary.click()

        assert_accessible(page)
        assert_fits(page)


def test_job_pages_work_without_script(
    open_page: OpenPage, running: dict[str, Any], partial_job: dict[str, Any]
) -> None:
    page = open_page("/ui/jobs?status=partially_succeeded", java_script_enabled=False)
    page.get_by_title(partial_job["id"]).click()
    expect(page.locator("#errors tbody tr")).to_have_count(2)
    expect(page.locator("#plot-1 rect.of-job")).to_have_count(2)

    page.goto(path_of(running))
    assert page.get_by_role("link", name="Look again").is_visible()
    page.get_by_role("button", name="Cancel the job").click()

    expect(page.locator("#status")).to_have_text("cancelled")


def test_job_pages_hold_no_script_or_style_of_their_own(
    api: Api, forest_job: dict[str, Any], partial_job: dict[str, Any]
) -> None:
    for path in ("/ui/jobs", path_of(forest_job), path_of(partial_job)):
        text = requests.get(api.url + path, timeout=30).text

        assert "<style" not in text
        assert " style=" not in text
        assert "<script>" not in text
