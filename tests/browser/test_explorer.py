"""The explorer as a person uses it."""

import pytest

from app.domain.key import Scope


@pytest.fixture
def client(house):
    return house.client(Scope.WRITE)


@pytest.fixture
def page(browser, live, house, client):
    house.finish(house.study(client))
    with browser.open(f"{live.url}/") as opened:
        yield opened


def test_asks_for_a_key_and_shows_studies_and_fronts(live, page, client):
    assert "key" in page.wait("document.querySelector('#notice').innerText")
    page.type("#key input", client.headers["Authorization"].removeprefix("Bearer "))
    page.click("#studies tbody button")
    assert "finished" in page.wait("document.querySelector('#state').innerText")
    page.wait("document.querySelectorAll('#front circle.predicted').length === 3")
    page.wait("document.querySelectorAll('#front circle.measured').length === 1")
    # but for the question without a key, nothing is wrong
    assert [text for text in page.complaints if "401" not in text] == []
    assert all(address.startswith(live.url) for address in page.asked)
