"""Swagger UI as a person uses it, with no network but this machine."""

import json

import pytest

from app.domain.key import Scope


@pytest.fixture
def page(browser, live):
    with browser.open(f"{live.url}/docs") as opened:
        yield opened


def authorise(page, key):
    page.click(".auth-wrapper .authorize")
    page.type(".auth-container input", key)
    page.click(".auth-container button[type=submit]")
    page.wait("[...document.querySelectorAll('.auth-container h6')].some(line => line.innerText.includes('Authorized'))")
    page.click(".auth-btn-wrapper .btn-done")


def block(method, path):
    """The place of a call on the page."""
    return f".opblock-{method}:has(.opblock-summary-path[data-path='{path}'])"


def execute(page, method, path, **parameters):
    """Opens a call, fills in its parameters, presses Execute, and reads status and answer from the page."""
    place = block(method, path)
    page.click(f"{place} .opblock-summary-control")
    for name, value in parameters.items():
        page.type(f"{place} tr[data-param-name='{name}'] input", value)
    page.click(f"{place} .execute")
    answer = f"{place} .live-responses-table tbody"
    return text_of(page, f"{answer} .response-col_status").split()[0], text_of(page, answer)


def text_of(page, selector):
    return page.wait(f"document.querySelector({json.dumps(selector)})?.innerText")


def test_a_person_authorises_creates_a_study_and_reads_its_front(house, live, page):
    key = house.client(Scope.WRITE).headers["Authorization"].removeprefix("Bearer ")
    authorise(page, key)
    status, body = execute(page, "post", "/v1/studies")
    assert status == "202"
    [study] = house.store.studies()
    assert study.id in body
    house.finish(study)
    status, body = execute(page, "get", "/v1/studies/{reference}/front", reference=study.id)
    assert status == "200"
    assert '"points"' in body
    assert page.complaints == []
    assert all(address.startswith((live.url, "data:", "blob:")) for address in page.asked)


def test_a_call_without_a_key_says_so(house, page):
    house.client(Scope.READ)
    status, body = execute(page, "get", "/v1/studies")
    assert status == "401"
    assert "this service needs a key" in body
