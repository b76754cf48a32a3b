"""The explorer: whole, alone, and closed."""

import re

PAGE = "default-src 'none'"


def test_the_page_and_what_it_needs_are_there(house):
    client = house.client()
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for asset in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        assert client.get(asset).status_code == 200, asset


def test_it_asks_nobody_else_and_runs_no_foreign_script(house):
    client = house.client()
    for path in ("/", "/explorer.js", "/explorer.css"):
        answer = client.get(path)
        assert answer.headers["content-security-policy"].startswith(PAGE)
        addresses = set(re.findall(r"https?://[^\"'\s]+", answer.text))
        assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"}


def test_it_writes_no_markup_from_what_a_study_is_called(house):
    assert "innerHTML" not in house.client().get("/explorer.js").text
