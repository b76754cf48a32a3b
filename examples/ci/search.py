"""The CI job of search.sh in Python, with nothing but its standard library: leases are kept by heartbeats, however long a trial takes.

SERVER=http://HOST:PORT KEY=mf_... python search.py STUDY.json 'TASK>=SCORE' OUT -- EVALUATE [ARGUMENT...]
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

SERVER = os.environ["SERVER"]
KEY = os.environ.get("KEY", "")
LEASE_SECONDS = 60
UNDER_WAY = ("submitted", "running")


def call(path, body=None, method=None, headers=None):
    """What the service answers: the bytes. A body is JSON, or the bytes of a file."""
    plain = isinstance(body, bytes)
    content = {} if body is None else {"Content-Type": "application/octet-stream" if plain else "application/json"}
    headers = content | ({"Authorization": f"Bearer {KEY}"} if KEY else {}) | (headers or {})
    data = body if plain or body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(SERVER + path, data, headers, method=method), timeout=120) as answer:
        return answer.read()


def ask(path, body=None, **options):
    return json.loads(call(path, body, **options))


def register(file):
    """The file's id as a checkpoint; `mergefront submit` uploads in pieces, and resumes."""
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if ask("/v1/blobs:missing", {"digests": [digest]})["missing"]:
        call(f"/v1/blobs/{digest}", content, method="PUT")
    return ask("/v1/checkpoints", {"files": {"model.safetensors": digest}})["id"]


def submit(study):
    manifest = json.loads(study.read_text())
    models = manifest["models"]
    models["base"] = register(study.parent / models["base"])
    models["tuned"] = {name: register(study.parent / path) for name, path in models["tuned"].items()}
    key = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    return manifest, ask("/v1/studies", manifest, headers={"Idempotency-Key": f'"{key}"'})["id"]


def fetch(files, directory):
    for file in ask(files)["items"]:
        target = directory / file["name"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(call(file["href"]))
    return directory / "model.safetensors"


def evaluate(command, weights, split):
    return json.loads(subprocess.run([*command, str(weights), split], check=True, stdout=subprocess.PIPE).stdout)


@contextmanager
def kept(trial):
    """Keeps the trial ours while the block runs; a lease that is lost shows when the result is told."""
    done = threading.Event()

    def beat():
        while not done.wait(LEASE_SECONDS / 3):
            try:
                call(trial["links"]["heartbeat"], {"token": trial["token"], "lease": LEASE_SECONDS})
            except urllib.error.HTTPError:
                return

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def result_of(trial, command, scratch):
    try:
        with kept(trial):
            return {"scores": evaluate(command, fetch(trial["links"]["weights"], scratch), trial["split"])}
    except subprocess.CalledProcessError as error:
        return {"failure": f"the evaluator ended with {error.returncode}"}


def tell(trial, result):
    try:
        call(trial["links"]["result"], {"token": trial["token"], **result})
    except urllib.error.HTTPError as error:
        if error.code != 409:  # somebody else has it by now, or the study was cancelled
            raise


def serve(study_id, command):
    """Evaluates whatever the study asks for until it has ended; its status."""
    while True:
        asked = ask(f"/v1/studies/{study_id}/trials:ask?n=1&lease={LEASE_SECONDS}&by=ci", method="POST", headers={"Prefer": "wait=20"})
        for trial in asked["items"]:
            with tempfile.TemporaryDirectory() as scratch:
                tell(trial, result_of(trial, command, Path(scratch)))
        if asked["status"] not in UNDER_WAY:
            return asked["status"]


def main():
    study, gate, out, _, *command = sys.argv[1:]
    task, bound = gate.split(">=")
    manifest, study_id = submit(Path(study))
    status = serve(study_id, command)
    if status != "finished":
        return f"the study {status}"
    wish = {"weights": dict.fromkeys(manifest["tasks"], 1.0), "constraints": [{"task": task, "at_least": float(bound)}]}
    try:
        merge = ask(f"/v1/studies/{study_id}/merges", wish)
    except urllib.error.HTTPError as error:
        return json.load(error)["detail"]
    scores = evaluate(command, fetch(merge["links"]["files"], Path(out)), "report")
    print(json.dumps(scores))
    return 0 if scores[task] >= float(bound) else f"below {gate}"


if __name__ == "__main__":
    sys.exit(main())
