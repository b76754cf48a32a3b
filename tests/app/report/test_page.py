"""report.html: one file, no request, and nothing of the study read as markup."""

import base64
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.report import page
from app.report.page import render_page

VOID = {"meta", "input", "br"}
HOSTILE = "<img src=x onerror=alert(1)></script></style>\"'&{{7*7}}{% raw %}<!--"


class Reader(HTMLParser):
    """Elements, attributes and texts of a page; refuses elements that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.bodies: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements[tag] += 1
        self.attributes += attributes
        if tag in self.bodies:
            self.bodies[tag].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in self.bodies:
            self.bodies[self.open[-1]][-1] += data
        else:
            self.texts.append(data)

    def view(self):
        return json.loads(self.bodies["script"][0])


@pytest.fixture(scope="module", autouse=True)
def small_plotly():
    # the library is 5 MB of text that no test here is about, but one
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "_plotly", lambda: "/* plotly */")
        yield


def read(run, source="runs/images"):
    return Reader(render_page(run.study, run.trials, run.front, source))


class TestOffline:
    @pytest.mark.parametrize("tasks", [1, 2, 4])
    def test_no_reference_to_any_server(self, make_run, tasks):
        found = read(make_run([f"t{n}" for n in range(tasks)], budget=12))
        assert [pair for pair in found.attributes if pair[0] in ("src", "href", "action", "srcset", "data") and pair[1] != "#front"] == []
        every = [*found.texts, *found.bodies["script"], *found.bodies["style"], *(value or "" for _, value in found.attributes)]
        # the name of the SVG namespace is a name: nothing is fetched from it
        text = "".join(every).replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"(?:https?:)?//\w[\w.-]*\.\w+|@import|url\(", text) == []

    def test_the_policy_allows_its_own_scripts_and_no_request(self, make_run):
        found = read(make_run(budget=12))
        policy = next(value for name, value in found.attributes if name == "content" and "default-src" in value)
        digests = [base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in found.bodies["script"][1:]]
        assert re.findall(r"sha256-([^']+)", policy) == digests and len(digests) == 2
        assert policy.startswith("default-src 'none';") and "script-src 'unsafe" not in policy and "connect-src" not in policy

    def test_plotly_is_inside_once_and_sends_nothing(self, make_run, monkeypatch):
        monkeypatch.undo()
        from plotly.offline import get_plotlyjs

        library = get_plotlyjs()
        assert "</script" not in library.lower() and "<!--" not in library
        monkeypatch.setattr(page, "_plotly", lambda: library)
        run = make_run(budget=12)
        text = render_page(run.study, run.trials, run.front, "runs/images")
        assert text.count(library) == 1
        assert text.count('showSendToCloud: false, plotlyServerURL: ""') == 1


class TestEscaping:
    @settings(max_examples=20, deadline=None)
    @given(names=st.lists(st.text(min_size=1, max_size=30) | st.just(HOSTILE), min_size=3, max_size=3, unique=True))
    def test_names_never_become_markup(self, make_run, names):
        tame, wild = (read(make_run(found, study_name=found[0], budget=6, points=5, verify=2)) for found in (("a", "b", "c"), names))
        assert wild.elements == tame.elements
        assert [task["name"] for task in wild.view()["tasks"]] == list(names)

    def test_the_source_is_one_word_of_the_shell(self, make_run):
        found = read(make_run(budget=6), source="it's; rm -rf $HOME")
        assert "mergefront merge 'it'\"'\"'s; rm -rf $HOME' --at" in "".join(found.texts)

    def test_scripts_write_text_and_never_markup(self):
        own = "".join(files("app.report").joinpath(name).read_text("utf-8") for name in page._SCRIPTS)
        assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", own) == []


class TestContents:
    def test_the_view_holds_what_the_pictures_show(self, make_run):
        run = make_run(("a", "b"), ("accuracy", "perplexity"), budget=12, points=9, verify=3)
        view = read(run).view()
        assert [point["c"] for point in view["points"]] == [list(point.coefficients) for point in run.front.points]
        assert [point["report"] for point in view["points"]] == [
            [p.report["a"], p.report["b"]] if p.report else None for p in run.front.points
        ]
        assert [task["maximize"] for task in view["tasks"]] == [True, False]
        assert len(view["samples"]) == 3 + 12 - 3
        assert {one["label"] for one in view["references"]} == {"average", "task arithmetic", "ties", "dare", "tuned alone", "base"}
        assert [fit["rmse"] for fit in view["fits"]] == [fit.loo_rmse for fit in run.front.fits]

    def test_the_tables_need_no_script(self, make_run):
        run = make_run(("a", "b"), budget=12)
        text = " ".join("".join(read(run).texts).split())
        for name in ("task_arithmetic 0.4", "tuned alone", "Evaluations spent", "leave-one-out", "not finite", "2.13.0", "ab" * 32):
            assert name in text

    def test_the_lead_tells_of_the_report_split(self, make_run):
        texts = "".join(read(make_run(("a", "b"), budget=12)).texts)
        assert "measured on the report split, which no choice ever saw" in texts
        assert "it was not measured on the report split" in "".join(read(make_run(("a", "b"), budget=12, verify=0)).texts)

    def test_every_element_that_scripts_look_for_is_there(self, make_run):
        found = read(make_run(budget=12))
        ids = {value for name, value in found.attributes if name == "id"}
        own = "".join(files("app.report").joinpath(name).read_text("utf-8") for name in page._SCRIPTS)
        asked = set(re.findall(r'(?:element|getElementById|draw|options)\("([\w-]+)"', own))
        assert asked <= ids and len(asked) > 12
