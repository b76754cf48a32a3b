"""front.csv and trials.csv: columns as fixed, numbers that read back the same."""

import csv
import dataclasses
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.trial import TrialStatus
from app.report.tables import front_csv, trials_csv

names = st.lists(
    st.text(st.characters(blacklist_characters="\r", codec="utf-8"), min_size=1, max_size=12), min_size=2, max_size=3, unique=True
)


def read(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


class TestFrontTable:
    def test_columns(self, make_run):
        header = front_csv(make_run(("mnist", "landsat"), budget=8).front).splitlines()[0]
        assert header == (
            "point,c:mnist,c:landsat,"
            "predicted:mnist,low:mnist,high:mnist,search:mnist,report:mnist,"
            "predicted:landsat,low:landsat,high:landsat,search:landsat,report:landsat"
        )

    def test_columns_of_grouped_coefficients(self, make_run):
        front = dataclasses.replace(make_run(("a", "b"), budget=8).front, columns=("a:block.0", "a:block.1"))
        assert front_csv(front).startswith("point,c:a:block.0,c:a:block.1,predicted:a,")

    @settings(max_examples=20, deadline=None)
    @given(names=names)
    def test_every_number_reads_back_the_same(self, make_run, names):
        front = make_run(names, budget=8, points=6, verify=2).front
        rows = read(front_csv(front))
        assert [int(row["point"]) for row in rows] == list(range(len(front.points)))
        for row, point in zip(rows, front.points, strict=True):
            assert tuple(float(row[f"c:{column}"]) for column in front.columns) == point.coefficients
            for task in names:
                predicted = point.predicted[task]
                assert [float(row[f"{kind}:{task}"]) for kind in ("predicted", "low", "high")] == [
                    predicted.score,
                    predicted.low,
                    predicted.high,
                ]
                assert row[f"search:{task}"] == (repr(point.search[task]) if point.search else "")
                assert row[f"report:{task}"] == (repr(point.report[task]) if point.report else "")


class TestTrialsTable:
    def test_columns(self, make_run):
        run = make_run(("mnist", "landsat"), budget=8)
        header = trials_csv(run.trials, run.front.columns, run.front.tasks).splitlines()[0]
        assert header == "trial,origin,c:mnist,c:landsat,search:mnist,search:landsat,status,seconds"

    def test_trials_of_the_search_split_only(self, make_run):
        run = make_run(budget=8)
        rows = read(trials_csv(run.trials, run.front.columns, run.front.tasks))
        listed = [trial for trial in run.trials if trial.proposal.split == "search"]
        assert [int(row["trial"]) for row in rows] == [trial.number for trial in listed] != list(range(len(run.trials)))
        assert {row["origin"] for row in rows} == {"design", "baseline", "verify"}

    def test_a_failed_trial_has_no_scores(self, make_run):
        run = make_run(budget=8)
        failed = [row for row in read(trials_csv(run.trials, run.front.columns, run.front.tasks)) if row["status"] == TrialStatus.FAILED]
        assert [(row["search:mnist"], row["seconds"]) for row in failed] == [("", "")]
