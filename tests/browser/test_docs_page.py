"""The contract as a page."""

import requests
from playwright.sync_api import expect

from tests.browser.visits import OpenPage, assert_accessible, assert_fits
from tests.live_stack import Api


def test_every_operation_of_the_contract_can_be_read(open_page: OpenPage, api: Api) -> None:
    contract = requests.get(f"{api.url}/openapi.json", timeout=30).json()
    operations = [o for methods in contract["paths"].values() for o in methods.values()]

    page = open_page("/docs")

    for operation in operations:
        described = page.locator(f"#{operation['operationId']}")
        described.locator("summary").click()
        expect(described).to_contain_text(operation["summary"])
        for parameter in operation["parameters"]:
            expect(described).to_contain_text(parameter["name"])
        for status in operation["responses"]:
            expect(described).to_contain_text(status)
    assert_accessible(page)
    assert_fits(page)
