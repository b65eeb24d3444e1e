"""The page of a model: a form that scores one row, and a place to drop a file."""

import csv
import io
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visits import PHONE, OpenPage, assert_accessible, assert_fits, drop
from tests.live_stack import Api

CHURN = {"age": "45", "city": "Kiel", "member": "true"}
JOB_PAGE = re.compile(r"/ui/jobs/(job_[0-9a-f]{32})$")


def fill(page: Page, row: dict[str, str]) -> None:
    for name, value in row.items():
        field = page.get_by_label(re.compile(rf"^{name}\b"))
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)


def predicted(page: Page) -> str:
    """The prediction that a page shows, with all its digits."""
    expect(page.locator(".outcome-value")).to_be_visible()
    return page.locator(".outcome-value data").get_attribute("value") or ""


def answered(api: Api, row: dict[str, str], **query: str) -> dict[str, str]:
    """What the API predicts for the same row."""
    answer = api.predict(f"{','.join(row)}\n{','.join(row.values())}\n", **query)
    return next(csv.DictReader(io.StringIO(answer.text)))


def result_lines(api: Api, page: Page) -> list[dict[str, str]]:
    """The results of the job whose page is open, once it has ended."""
    page.wait_for_url(JOB_PAGE)
    found = JOB_PAGE.search(page.url)
    assert found
    api.ended({"urls": {"self": f"/jobs/{found[1]}"}})
    return list(csv.DictReader(io.StringIO(api.get(f"/jobs/{found[1]}/results").text)))


# --- one row


def test_the_form_predicts_what_the_api_predicts(open_page: OpenPage, api: Api) -> None:
    row = {"a": "0.5", "b": "-1", "c": "2"}
    page = open_page("/ui/models/forest")

    fill(page, row)
    page.get_by_role("button", name="Predict").click()

    assert predicted(page) == answered(api, row, model="forest")["prediction"]
    expect(page.get_by_label(re.compile("^a"))).to_have_value("0.5")


def test_a_classifier_shows_how_probable_each_class_is(open_page: OpenPage, api: Api) -> None:
    page = open_page("/ui/models/churn")

    fill(page, CHURN)
    page.get_by_role("button", name="Predict").click()

    assert predicted(page) == answered(api, CHURN, model="churn")["prediction"]
    probabilities = answered(api, CHURN, model="churn", output="predict_proba")
    for name in ("go", "stay"):
        line = page.get_by_role("row", name=name)
        expect(line).to_contain_text(f"{float(probabilities[f'proba_{name}']) * 100:.1f} %")


def test_a_prediction_is_taken_apart_where_the_model_offers_it(open_page: OpenPage) -> None:
    page = open_page("/ui/models/line")

    fill(page, {"x": "6"})
    page.get_by_role("button", name="Predict").click()

    assert predicted(page) == "15"
    expect(page.get_by_role("row", name="x = 6")).to_contain_text("+6.000")
    expect(page.get_by_text("From a base value of 9 to 15.")).to_be_visible()


def test_what_is_wrong_with_a_field_is_said_at_the_field(open_page: OpenPage) -> None:
    page = open_page("/ui/models/churn")

    fill(page, CHURN | {"age": "old"})
    page.get_by_role("button", name="Predict").click()

    age = page.get_by_label("age")
    expect(age).to_have_attribute("aria-invalid", "true")
    expect(age).to_have_accessible_description(re.compile("Column 'age' holds 'old'"))
    expect(page.get_by_label("city")).not_to_have_attribute("aria-invalid", "true")
    assert_accessible(page)
    fill(page, {"age": "45"})
    page.get_by_role("button", name="Predict").click()
    predicted(page)
    expect(age).not_to_have_attribute("aria-invalid", "true")


def test_a_problem_leaves_what_was_typed(open_page: OpenPage) -> None:
    page = open_page("/ui/models/line")
    long = "6" * 1_100_000

    fill(page, {"x": long})
    page.get_by_role("button", name="Predict").click()

    expect(page.locator("#outcome").get_by_role("alert")).to_contain_text("This was refused")
    expect(page.get_by_label("x")).to_have_value(long)


def test_a_field_that_the_model_needs_can_not_be_left_out(open_page: OpenPage) -> None:
    page = open_page("/ui/models/churn")

    page.get_by_role("button", name="Predict").click()

    assert page.get_by_label("age").evaluate("field => field.validity.valueMissing")
    expect(page.get_by_text("The prediction appears here.")).to_be_visible()


def test_the_example_is_filled_in(open_page: OpenPage) -> None:
    page = open_page("/ui/models/churn")
    fill(page, {"city": "Ulm", "age": "33"})

    page.get_by_role("link", name="Fill in the example").click()

    expect(page.get_by_label("age")).to_have_value("20")
    expect(page.get_by_label("city")).to_have_value("Bonn")
    expect(page.get_by_label("member")).to_have_value("true")


def test_a_row_is_scored_by_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page("/ui/models/line")

    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "x":
            break
    page.keyboard.type("6")
    page.keyboard.press("Enter")

    assert predicted(page) == "15"
    expect(page.get_by_label("x")).to_be_focused()


def test_the_form_works_without_script(open_page: OpenPage) -> None:
    page = open_page("/ui/models/churn", java_script_enabled=False)

    page.get_by_role("link", name="Fill in the example").click()
    expect(page.get_by_label("age")).to_have_value("20")
    fill(page, {"age": "old"})
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_text("Column 'age' holds 'old'; it takes a number.")).to_be_visible()
    fill(page, {"age": "20"})
    page.get_by_role("button", name="Predict").click()

    assert predicted(page) in ("go", "stay")
    expect(page.get_by_role("heading", name="churn")).to_be_visible()


# --- a file


def test_columns_that_do_not_fit_are_named_as_soon_as_a_file_is_dropped(
    open_page: OpenPage,
) -> None:
    page = open_page("/ui/models/churn")

    drop(page, ".drop-zone", "people.csv", "age,age,town\n20,20,Bonn\n")

    check = page.locator("#file-check")
    expect(check).to_contain_text("Missing: “city”, “member”")
    expect(check).to_contain_text("There more than once: “age”")
    expect(check).to_contain_text("unknown to the model: “town”")
    assert_accessible(page)


def test_a_dropped_file_is_shown_scored_and_leads_to_its_job(open_page: OpenPage, api: Api) -> None:
    page = open_page("/ui/models/line")

    drop(page, ".drop-zone", "xs.csv", "id,x\na,6\nb,2\n")
    expect(page.locator("#file-check")).to_contain_text("all columns")
    expect(page.locator("#file-check")).to_contain_text("Not used: “id”")
    expect(page.locator("#file-preview td")).to_have_text(["a", "6", "b", "2"])
    page.get_by_text("Options").click()
    page.get_by_label("Key column").fill("id")
    page.get_by_role("button", name="Score the file").click()

    lines = result_lines(api, page)
    assert [(line["id"], line["prediction"]) for line in lines] == [("a", "15"), ("b", "7")]


def test_a_delimiter_is_found_out(open_page: OpenPage, api: Api) -> None:
    page = open_page("/ui/models/churn")

    drop(page, ".drop-zone", "people.csv", '\ufeff"age";city;member\n20;"Bonn";true\n')
    expect(page.locator("#file-check")).to_contain_text("all columns")
    page.get_by_role("button", name="Score the file").click()

    assert result_lines(api, page)[0]["prediction"] in ("go", "stay")


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("age,age\n1,2\n", ["'city' is missing", "'member' is missing", "'age' is there 2 times"]),
        ("age,city,member\n", ["no data row"]),
    ],
)
def test_what_the_server_refuses_is_said_on_the_page(
    open_page: OpenPage, text: str, messages: list[str]
) -> None:
    page = open_page("/ui/models/churn")

    drop(page, ".drop-zone", "people.csv", text)
    page.get_by_role("button", name="Score the file").click()

    for message in messages:
        expect(page.locator("#upload-problem")).to_contain_text(message)
    expect(page.get_by_role("button", name="Score the file")).to_be_enabled()
    assert page.url.endswith("/ui/models/churn")
    assert_accessible(page)


def test_a_file_that_is_chosen_twice_at_once_is_judged_once(open_page: OpenPage) -> None:
    page = open_page("/ui/models/line")

    drop(page, ".drop-zone", "xs.csv", "y\n6\n")
    choose = (
        "[1, 2].forEach(() => document.getElementById('file').dispatchEvent(new Event('change')))"
    )
    page.evaluate(choose)

    expect(page.locator("#file-preview td")).to_have_text(["6"])
    expect(page.locator("#file-check .notice")).to_have_count(1)


def test_a_folder_is_no_file(open_page: OpenPage) -> None:
    page = open_page("/ui/models/line")
    page.evaluate("void (Blob.prototype.text = () => Promise.reject(new Error()))")

    drop(page, ".drop-zone", "folder", "")

    expect(page.locator("#file-check")).to_contain_text("can't be read")


def test_what_a_proxy_refuses_is_said_in_our_words(open_page: OpenPage) -> None:
    page = open_page("/ui/models/line")
    body = "<html><center><h1>413 Request Entity Too Large</h1></center></html>"
    page.route(
        "**/jobs", lambda route: route.fulfill(status=413, content_type="text/html", body=body)
    )

    drop(page, ".drop-zone", "xs.csv", "x\n6\n")
    page.get_by_role("button", name="Score the file").click()

    expect(page.locator("#upload-problem .notice")).to_contain_text("larger than a proxy")
    assert page.locator("#upload-problem h1").count() == 0


def test_a_file_is_sent_without_script(open_page: OpenPage, api: Api, tmp_path: Path) -> None:
    file = tmp_path / "xs.csv"
    file.write_text("x\n6\n")
    page = open_page("/ui/models/line", java_script_enabled=False)

    page.get_by_text("Options").click()
    page.get_by_label("Input columns").select_option("In the results")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**?*join=input*")
    page.get_by_label("Choose a file").set_input_files(file)
    page.get_by_role("button", name="Score the file").click()

    assert result_lines(api, page) == [{"row": "1", "x": "6", "prediction": "15", "error": ""}]


def test_a_refusal_is_a_page_without_script(open_page: OpenPage, tmp_path: Path) -> None:
    file = tmp_path / "xs.csv"
    file.write_text("y\n6\n")
    page = open_page("/ui/models/line", java_script_enabled=False)

    page.get_by_label("Choose a file").set_input_files(file)
    page.get_by_role("button", name="Score the file").click()

    expect(page.get_by_role("alert")).to_contain_text("Column 'x' is missing.")


# --- how it looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_fits_a_phone_in_every_state(
    open_page: OpenPage, scheme: str
) -> None:
    page = open_page("/ui/models/forest", viewport=PHONE, color_scheme=scheme)

    page.get_by_text("Options").click()
    drop(page, ".drop-zone", "a-file-with-a-long-name-that-does-not-fit.csv", "a,b,c\n1,2,3\n")
    expect(page.locator("#file-check")).to_contain_text("all columns")
    fill(page, {"a": "1", "b": "2"})
    page.get_by_role("button", name="Predict").click()
    predicted(page)

    assert_accessible(page)
    assert_fits(page)


def test_a_version_has_a_page_of_its_own_and_an_unknown_one_a_problem(open_page: OpenPage) -> None:
    page = open_page("/ui/models/line:1")

    expect(page.get_by_role("heading", name="line", exact=True)).to_be_visible()
    page.goto("/ui/models/line:9")
    expect(page.get_by_role("alert")).to_contain_text("Model 'line' has no version '9'; it has 1.")
