"""Disturbs a service while it works on studies, then checks that nobody could tell.

`python -m tests.e2e.kill_harness --disturbances 500 --seed 0` prints what was done and how long it took until work went on; it fails
unless every accepted study found the front of an undisturbed run, recorded every trial once within its attempts, numbered its events
without a gap, and left no process behind. What is disturbed, and when, follows from the seed; what it hits is up to the machine.
With `--postgres` the records are in a PostgreSQL server, which is restarted too.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from redis import Redis
from redis.exceptions import RedisError

from app.cli.prepare import prepare
from app.cli.run import carry_out
from app.cli.workspace import open_workspace
from app.domain.front import Front
from app.domain.study import StudyStatus
from app.domain.trial import MAX_ATTEMPTS, TrialStatus
from tests.e2e.models import write_model_set
from tests.e2e.postgres import Cluster, made_cluster
from tests.e2e.serving import Serving, eventually, kill_if_alive

LEASE_SECONDS = 6.0
ROLES = ("API", "sweeper", "worker", "child", "broker")
KINDS = (*(f"kill {role}" for role in ROLES), *(f"stop {role}" for role in ROLES), "wipe broker")
RESTART = "restart database"
# how many strike at once: mostly one, sometimes another before the first is overcome
AT_ONCE = (1, 1, 2, 3)
# how often a pause outlasts a lease
LONG_PAUSES = 0.25
OVER = (StudyStatus.FINISHED, StudyStatus.FAILED, StudyStatus.CANCELLED)


@dataclass
class Harness:
    service: Serving
    manifest: Path
    chance: random.Random
    cluster: Cluster | None = None
    studies: list[str] = field(default_factory=list)
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    drawn: Counter[str] = field(default_factory=Counter)

    def disturb(self, count: int) -> None:
        """`count` disturbances, one or a few at once, and the next when work has gone on after the last."""
        done = 0
        while done < count:
            if not self.studies or self.over(self.studies[-1]):
                self.studies.append(self.submit())
            time.sleep(self.chance.uniform(0.0, 1.5))
            drawn = self.draw(count - done)
            struck = [kind for kind in drawn if self.strike(kind)]
            self.drawn.update(drawn)
            if struck:
                seconds = self.seconds_until_work_goes_on()
                for kind in struck:
                    self.took[kind].append(seconds)
                done += len(struck)
                sys.stderr.write(f"{done:4} {', '.join(struck):<40} {seconds:6.1f} s\n")

    def draw(self, most: int) -> list[str]:
        return self.chance.choices(self.kinds, k=min(most, self.chance.choice(AT_ONCE)))

    @property
    def kinds(self) -> tuple[str, ...]:
        return KINDS if self.cluster is None else (*KINDS, RESTART)

    def submit(self) -> str:
        body = json.dumps(yaml.safe_load(self.manifest.read_text())).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"study-{len(self.studies)}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.service.port}/v1/studies", body, headers)

        def accepted() -> str:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)["id"]
            except urllib.error.HTTPError as error:
                assert error.code in (409, 503), error.read()
            except OSError:
                pass
            return ""

        return eventually(accepted, "the study is accepted")

    def strike(self, kind: str) -> bool:
        """Whether there was something to strike at."""
        deed, _, role = kind.partition(" ")
        if deed == "wipe":
            return self.wipe()
        if kind == RESTART:
            self.cluster.restart()
            return True
        pids = self.service.pids(role)
        if not pids:
            return False
        if deed == "kill":
            kill_if_alive(pids[0])
        else:
            self.pause(pids[0])
        return True

    def wipe(self) -> bool:
        try:
            with Redis(unix_socket_path=str(self.service.broker())) as broker:
                return bool(broker.flushall())
        except RedisError:
            return False

    def pause(self, pid: int) -> None:
        """Sometimes past the end of its lease."""
        try:
            os.kill(pid, signal.SIGSTOP)
            is_long = self.chance.random() < LONG_PAUSES
            time.sleep(LEASE_SECONDS * self.chance.uniform(1.0, 1.8) if is_long else self.chance.uniform(0.2, 2.0))
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            return

    def seconds_until_work_goes_on(self) -> float:
        began, before = time.monotonic(), self.progress()
        eventually(lambda: self.progress() > before or self.over(self.studies[-1]), "work goes on")
        return time.monotonic() - began

    def progress(self) -> int:
        with self.service.store() as store:
            return sum(trial.status is TrialStatus.FINISHED for trial in store.trials(self.studies[-1]))

    def over(self, study_id: str) -> bool:
        with self.service.store() as store:
            return store.study(study_id).status in OVER

    def findings(self, expected: Front) -> list[str]:
        """What is wrong, once all studies are over."""
        for study_id in self.studies:
            eventually(lambda study_id=study_id: self.over(study_id), f"{study_id} ends")
        # a part that is never found would look like one that nothing can harm
        missed = [kind for kind, times in self.drawn.items() if times >= 5 and kind not in self.took]
        found = [finding for study_id in self.studies for finding in self.findings_of(study_id, expected)]
        return [f"{kind} never struck" for kind in missed] + found

    def findings_of(self, study_id: str, expected: Front) -> list[str]:
        with self.service.store() as store:
            study, trials, events = store.study(study_id), store.trials(study_id), store.events(study_id, limit=100_000)
            if study.status is not StudyStatus.FINISHED:
                return [f"{study_id} is {study.status}: {study.failure}"]
            front = store.front(study_id)
        recorded = Counter(event.data["trial"] for event in events if event.kind in ("trial.finished", "trial.failed"))
        wrong = {
            "another front": front.points != expected.points or front.baselines != expected.baselines,
            "other trials": front.evaluations != expected.evaluations,
            "a gap in its events": [event.number for event in events] != list(range(1, len(events) + 1)),
            "a trial recorded twice, or never": recorded != Counter(trial.id for trial in trials),
            "a trial begun too often": max(trial.attempts for trial in trials) > MAX_ATTEMPTS,
        }
        return [f"{study_id} has {finding}" for finding, found in wrong.items() if found]

    def table(self) -> str:
        lines = [f"{'disturbance':<16} {'times':>5} {'mean':>8} {'longest':>8}  until work went on"]
        for kind in self.kinds:
            if took := self.took.get(kind):
                lines.append(f"{kind:<16} {len(took):>5} {sum(took) / len(took):>6.1f} s {max(took):>6.1f} s")
        return "\n".join(lines)


def undisturbed(manifest: Path, folder: Path) -> Front:
    with open_workspace(folder) as workspace:
        return workspace.store.front(carry_out(workspace, prepare(manifest, ()), "cpu", None).id)


def run(disturbances: int, seed: int, folder: Path, cluster: Cluster | None = None) -> list[str]:
    """Everything found wrong, with the records in SQLite or in `cluster`."""
    (folder / "models").mkdir()
    manifest = write_model_set(folder / "models")
    expected = undisturbed(manifest, folder / "run")
    settings = {
        "MERGEFRONT_LEASE_SECONDS": str(LEASE_SECONDS), "MERGEFRONT_SWEEP_SECONDS": "1", "MERGEFRONT_DEVICE": "cpu",
        "MERGEFRONT_DIRECTORIES": str(manifest.parent), "MERGEFRONT_FACTORIES": f"{manifest.parent}/net.py:Net",
    }
    if cluster is not None:
        settings["MERGEFRONT_DATABASE"] = cluster.url
    service = Serving(folder / "data", settings).start()
    try:
        harness = Harness(service, manifest, random.Random(seed), cluster)
        harness.disturb(disturbances)
        findings = harness.findings(expected)
        if service.stop() != 0:
            findings.append("the service did not end well")
        time.sleep(1.0)
        findings += [f"left behind: {left}" for left in service.processes().values()]
        sys.stdout.write(f"{harness.table()}\n{len(harness.studies)} studies, seed {seed}: {'; '.join(findings) or 'as undisturbed'}\n")
        return findings
    finally:
        service.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--disturbances", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--postgres", action="store_true", help="records in a PostgreSQL server, which is restarted too")
    given = parser.parse_args()
    database = made_cluster() if given.postgres else nullcontext()
    with tempfile.TemporaryDirectory() as folder, database as cluster:
        sys.exit(bool(run(given.disturbances, given.seed, Path(folder), cluster)))


if __name__ == "__main__":
    main()
