"""The description of every call: complete, with examples that are true, on a page that asks nobody else."""

import re

import jsonschema
import pytest

from app.domain.key import Scope

ANSWERS = {
    "/v1/studies": "StudyPage",
    "/v1/studies/images-2": "StudyDetail",
    "/v1/studies/images-2/trials": "TrialPage",
    "/v1/studies/images-2/front": "FrontDocument",
    "/readyz": "Readiness",
    "/healthz": "Health",
}
UNSAID = {"FrontDocument", "ManifestShape", "FinetuneShape"}
"""Shapes whose example is one for the whole."""


@pytest.fixture
def description(house):
    return house.client().get("/openapi.json").json()


def operations(description):
    return [(path, method, call) for path, calls in description["paths"].items() for method, call in calls.items()]


def exampled(shape):
    return "examples" in shape or "example" in shape or "$ref" in shape or "const" in shape


def whole(description, shape):
    """The shape with what it refers to, for a validator."""
    return {"components": description["components"], **shape}


def inner_shapes(description, name, seen):
    """The names of all that a shape refers to."""
    if name in seen:
        return
    seen.add(name)
    for found in re.findall(r"#/components/schemas/(\w+)", str(description["components"]["schemas"][name])):
        inner_shapes(description, found, seen)


class TestCompleteness:
    def test_every_call_has_a_sentence_and_a_place(self, description):
        for path, method, call in operations(description):
            assert call.get("summary"), (path, method)
            assert call.get("tags"), (path, method)

    def test_every_parameter_has_an_example(self, description):
        for path, method, call in operations(description):
            for parameter in call.get("parameters", []):
                assert exampled(parameter) or exampled(parameter["schema"]), (path, method, parameter["name"])
                assert parameter.get("description"), (path, method, parameter["name"])

    def test_every_field_has_an_example(self, description):
        said = set()
        for name in UNSAID:
            inner_shapes(description, name, said)
        missing = [
            f"{name}.{field}"
            for name, shape in description["components"]["schemas"].items()
            if name not in said
            for field, inner in shape.get("properties", {}).items()
            if not exampled(inner) and not ("items" in inner and "$ref" in inner["items"])
        ]
        assert missing == []

    def test_every_call_with_a_key_tells_its_problems(self, description):
        for path, method, call in operations(description):
            if call.get("security"):
                assert {"401", "403"} <= call["responses"].keys(), (path, method)
                assert "application/problem+json" in call["responses"]["401"]["content"]

    def test_paths_that_differ_only_in_names_are_one(self, description):
        plain = [re.sub(r"\{[^}]*\}", "{}", path) for path in description["paths"]]
        assert len(plain) == len(set(plain))


class TestExamples:
    def test_fit_their_shapes(self, description):
        for name, shape in description["components"]["schemas"].items():
            for field, inner in shape.get("properties", {}).items():
                for example in inner.get("examples", []):
                    validator = jsonschema.Draft202012Validator(whole(description, inner))
                    assert validator.is_valid(example), (name, field, example)

    def test_of_bodies_fit_their_shapes(self, description):
        for path, method, call in operations(description):
            for content in call.get("requestBody", {}).get("content", {}).values():
                if "example" in content:
                    jsonschema.Draft202012Validator(whole(description, content["schema"])).validate(content["example"])
                else:
                    assert "$ref" in content["schema"] or exampled(content["schema"]), (path, method)

    def test_can_be_run(self, house, client, description):
        """A person who presses Execute on every page of a study gets what the page promises."""
        body = description["paths"]["/v1/studies"]["post"]["requestBody"]["content"]["application/json"]["example"]
        created = client.post("/v1/studies", json=body)
        assert created.status_code == 202
        shape = description["components"]["schemas"]["StudyDetail"]
        jsonschema.Draft202012Validator(whole(description, shape)).validate(created.json())
        house.finish(house.store.study(created.json()["id"]))
        wish = description["components"]["schemas"]["ChoiceRequest"]["examples"][0]
        chosen = client.post("/v1/studies/images-2/choose", json=wish)
        assert chosen.status_code == 200, chosen.text
        jsonschema.Draft202012Validator(whole(description, description["components"]["schemas"]["ChoiceShape"])).validate(chosen.json())
        more = {"trials": description["components"]["schemas"]["Extension"]["properties"]["trials"]["examples"][0]}
        assert client.post("/v1/studies/images-2/extend", json=more).status_code == 202
        assert client.post("/v1/studies/images-2/cancel").status_code == 202

    def test_of_answers_are_what_is_answered(self, house, client, description):
        study = house.study(client)
        house.finish(study)
        for path, name in ANSWERS.items():
            shape = description["components"]["schemas"][name]
            jsonschema.Draft202012Validator(whole(description, shape)).validate(client.get(path).json())


class TestPage:
    def test_asks_nobody_else(self, house):
        client = house.client(Scope.READ)
        page = client.get("/docs")
        assert "://" not in page.text
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy

    def test_has_every_asset(self, house):
        client = house.client(Scope.READ)
        page = client.get("/docs").text
        assets = re.findall(r'(?:src|href)="(/docs/[^"]+)"', page)
        assert len(assets) == 4
        for asset in assets:
            answer = client.get(asset)
            assert answer.status_code == 200
            assert answer.content
            assert answer.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize("asset", ["redoc.standalone.js", "..%2f__init__.py", "core.py"])
    def test_has_no_other(self, house, asset):
        assert house.client().get(f"/docs/{asset}").status_code == 404
