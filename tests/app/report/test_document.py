"""front.json: its published schema, and the way there and back."""

import dataclasses
import json
import math
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import RefusedError
from app.domain.study import SpaceSpec, TransformSpec
from app.report.document import document_text, front_document
from app.report.reading import read_document
from app.report.schema import SCHEMA, FrontDocument, json_schema

DOCS = Path(__file__).parents[3] / "docs"
names = st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=3, unique=True)


def as_read(run):
    return json.loads(document_text(front_document(run.study, run.trials, run.front)))


class TestSchema:
    @pytest.mark.parametrize("tasks", [1, 2, 4])
    def test_a_document_keeps_to_it(self, make_run, tasks):
        run = make_run([f"t{n}" for n in range(tasks)], budget=12, points=10)
        validator = jsonschema.Draft202012Validator(json_schema())
        validator.check_schema(json_schema())
        assert list(validator.iter_errors(as_read(run))) == []

    def test_it_is_the_published_one(self):
        assert json.loads((DOCS / "front.schema.json").read_text("utf-8")) == json_schema()

    def test_every_key_is_explained(self):
        page = (DOCS / "front-json.md").read_text("utf-8")
        assert [key for key in FrontDocument.__annotations__ if f"| `{key}` |" not in page] == []

    def test_it_refuses_what_does_not_belong(self, make_run):
        document = as_read(make_run(budget=8, points=5))
        document["points"][0]["prediction"] = {}
        assert list(jsonschema.Draft202012Validator(json_schema()).iter_errors(document))


class TestContents:
    def test_scores_of_everything_by_split(self, make_run):
        run = make_run(("mnist", "wikitext"), ("accuracy", "perplexity"), budget=12)
        document = as_read(run)
        assert document["baselines"]["average"]["report"] == run.front.baselines[0].report
        assert document["individuals"]["mnist"]["search"] == run.front.individuals[0].search
        assert document["base"]["report"] == run.front.base.report
        assert [task["direction"] for task in document["tasks"]] == ["maximize", "minimize"]
        assert {point["point"] for point in document["points"] if point["splits"]} == {
            number for number, point in enumerate(run.front.points) if point.search
        }
        assert document["trials"][-1]["split"] in ("search", "report")
        assert document["digests"] == run.study.digests

    def test_figures_that_are_not_finite_are_null(self, make_run):
        run = make_run(budget=8, points=5)
        fit = dataclasses.replace(run.front.fits[0], loo_r2=-math.inf, details={"condition": math.inf, "scales": [1.0, math.nan]})
        front = dataclasses.replace(run.front, fits=(fit, *run.front.fits[1:]))
        found = json.loads(document_text(front_document(run.study, run.trials, front)))["surrogates"][0]
        assert found["loo_r2"] is None
        assert found["details"] == {"condition": None, "scales": [1.0, None]}

    def test_why_a_trial_failed(self, make_run):
        failures = [trial["failure"] for trial in as_read(make_run(budget=8))["trials"] if trial["status"] == "failed"]
        assert len(failures) == 1 and failures[0].startswith("measurement: ")


class TestReading:
    @settings(max_examples=20, deadline=None)
    @given(names=names, seed=st.integers(0, 1000))
    def test_the_front_reads_back_the_same(self, make_run, names, seed):
        run = make_run(names, study_name=names[0], seed=seed, budget=8, points=6, verify=3)
        found = read_document(as_read(run))
        assert found.front == run.front
        assert found.models == run.study.spec.models
        assert found.digests == run.study.digests

    def test_what_a_merge_needs_reads_back_the_same(self, make_run):
        run = make_run(("a", "b"), ("accuracy", "perplexity"), budget=8)
        space, transform = SpaceSpec(-0.5, 1.5, ("layer.0", "layer.1")), TransformSpec("dare", drop=0.9, seed=7)
        study = dataclasses.replace(run.study, spec=dataclasses.replace(run.study.spec, space=space, transform=transform))
        found = read_document(json.loads(document_text(front_document(study, run.trials, run.front))))
        assert (found.space, found.transform) == (space, transform)
        assert found.maximize == {"a": True, "b": False}

    @pytest.mark.parametrize("document", [{}, [], None, {"schema": "mergefront/front@2"}])
    def test_another_shape_is_refused_by_name(self, document):
        with pytest.raises(RefusedError, match=SCHEMA):
            read_document(document)

    def test_every_fault_is_told_with_its_place(self, make_run):
        document = as_read(make_run(budget=8, points=5))
        document["points"][2]["coefficients"][1] = "much"
        del document["figures"]["reference"]
        with pytest.raises(RefusedError) as caught:
            read_document(document)
        assert {fault.where for fault in caught.value.faults} == {"points.2.coefficients.1", "figures.reference"}
