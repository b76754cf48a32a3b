"""The links of the description: what an answer's id opens."""

from app.main import build_app


def links_of(path, method, status):
    return build_app(None).openapi()["paths"][path][method]["responses"][status]["links"]


def test_lead_from_a_created_study_to_all_that_can_be_done_with_it():
    description = build_app(None).openapi()["paths"]
    links = links_of("/v1/studies", "post", "202")
    for path, method in (("/v1/studies/{reference}/front", "get"), ("/v1/studies/{reference}/merges", "post")):
        assert links[description[path][method]["operationId"]]["parameters"] == {"reference": "$response.body#/id"}
    assert all("reference" in link["parameters"] for link in links.values())


def test_lead_from_a_merge_to_its_files():
    names = [link["operationId"] for link in links_of("/v1/studies/{reference}/merges", "post", "201").values()]
    assert any(name.startswith("list_files") for name in names)


def test_name_calls_that_there_are():
    paths = build_app(None).openapi()["paths"]
    calls = {call["operationId"] for methods in paths.values() for call in methods.values()}
    links = [link for methods in paths.values() for call in methods.values() for answer in call["responses"].values()
             for link in answer.get("links", {}).values()]
    assert links
    assert {link["operationId"] for link in links} <= calls
