"""Disturbs a service while it works on studies, then checks that nobody could tell.

`python -m tests.e2e.kill_harness --disturbances 500 --seed 0` prints what was done and how long it took until work went on; it fails
unless every accepted study found the front of an undisturbed run, recorded every trial once within its attempts, numbered its events
without a gap, and left no process behind. What is disturbed, and when, follows from the seed; what it hits is up to the machine.
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
from tests.e2e.serving import Serving, eventually, kill_if_alive

LEASE_SECONDS = 8.0
ROLES = ("API", "sweeper", "worker", "child", "broker")
KINDS = (*(f"kill {role}" for role in ROLES), *(f"stop {role}" for role in ROLES), "wipe broker")
OVER = (StudyStatus.FINISHED, StudyStatus.FAILED, StudyStatus.CANCELLED)


@dataclass
class Harness:
    service: Serving
    manifest: Path
    chance: random.Random
    studies: list[str] = field(default_factory=list)
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def disturb(self, count: int) -> None:
        """`count` disturbances, each once work has gone on after the last."""
        done = 0
        while done < count:
            if not self.studies or self.over(self.studies[-1]):
                self.studies.append(self.submit())
            time.sleep(self.chance.uniform(0.0, 1.5))
            kind = self.chance.choice(KINDS)
            if self.strike(kind):
                self.took[kind].append(self.seconds_until_work_goes_on())
                done += 1
                sys.stderr.write(f"{done:4} {kind:<14} {self.took[kind][-1]:6.1f} s\n")

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
            time.sleep(self.chance.uniform(0.5, 1.8 * LEASE_SECONDS))
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
        return [finding for study_id in self.studies for finding in self.findings_of(study_id, expected)]

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
        lines = [f"{'disturbance':<14} {'times':>5} {'mean':>8} {'longest':>8}  until work went on"]
        for kind in KINDS:
            if took := self.took.get(kind):
                lines.append(f"{kind:<14} {len(took):>5} {sum(took) / len(took):>6.1f} s {max(took):>6.1f} s")
        return "\n".join(lines)


def undisturbed(manifest: Path, folder: Path) -> Front:
    with open_workspace(folder) as workspace:
        return workspace.store.front(carry_out(workspace, prepare(manifest, ()), "cpu", None).id)


def run(disturbances: int, seed: int, folder: Path) -> list[str]:
    """Everything found wrong."""
    (folder / "models").mkdir()
    manifest = write_model_set(folder / "models")
    expected = undisturbed(manifest, folder / "run")
    settings = {
        "MERGEFRONT_LEASE_SECONDS": str(LEASE_SECONDS), "MERGEFRONT_SWEEP_SECONDS": "1", "MERGEFRONT_DEVICE": "cpu",
        "MERGEFRONT_DIRECTORIES": str(manifest.parent), "MERGEFRONT_FACTORIES": f"{manifest.parent}/net.py:Net",
    }
    service = Serving(folder / "data", settings).start()
    try:
        harness = Harness(service, manifest, random.Random(seed))
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
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(bool(run(given.disturbances, given.seed, Path(folder))))


if __name__ == "__main__":
    main()
