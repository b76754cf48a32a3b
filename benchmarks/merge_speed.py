"""How fast a merge is beside mergekit's, on the same checkpoints, in one go.

    python benchmarks/merge_speed.py [--rounds 3] [--slow] [--keep] [--json OUT]

A base and four tuned checkpoints of 468 M bfloat16 parameters (0.94 GB each) are made once under var/bench. Ours and mergekit's
turns alternate, each in a process of its own; the best of the rounds counts. mergekit comes from `make bench-peers`; without it
ours is measured alone. `--slow` adds what takes mergekit minutes: TIES, and 12,000 tensors of 64 elements.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_set import TUNED, make_llama_set, make_tiny_set
from mergefront_speed import COEFFICIENTS

HERE = Path(__file__).resolve().parent
BENCH = HERE.parent / "var" / "bench"
PEERS = HERE.parent / ".venv-peers" / "bin"
TINY = 12_000


@dataclass(frozen=True)
class Measurement:
    """One figure: the best seconds of ours and of mergekit's (None where it did not run), and the ratio to reach."""

    name: str
    seconds: float
    peer_seconds: float | None
    target: float | None
    anonymous_bytes: int = 0
    peer_peak_bytes: int = 0

    def record(self) -> dict[str, object]:
        ratio = self.seconds / self.peer_seconds if self.peer_seconds else None
        return {
            "benchmark": "merge_speed", "measurement": self.name, "seconds": self.seconds, "mergekit_seconds": self.peer_seconds,
            "ratio": ratio, "target_ratio": self.target, "anonymous_bytes": self.anonymous_bytes,
            "mergekit_peak_bytes": self.peer_peak_bytes,
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the checkpoints for another run")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    llama = make_llama_set(BENCH / "llama")
    warm_up(llama)
    measurements = measure_llama(llama, arguments.rounds)
    measurements.append(measure("12,000 tiny tensors to disk", make_tiny_set(BENCH / f"tiny-{TINY}", TINY), "disk", 1, None, peer=False))
    if arguments.slow:
        measurements.append(measure("TIES to disk", llama, "ties", 1, 1 / 15))
    show(measurements)
    if arguments.json:
        arguments.json.write_text(json.dumps([measurement.record() for measurement in measurements], indent=1))
    for path in BENCH.iterdir():
        if path.name.startswith("out") or not arguments.keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def warm_up(root: Path) -> None:
    """Bring every file into the page cache, for both sides alike."""
    for path in sorted(root.rglob("*.safetensors")):
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass


def measure_llama(root: Path, rounds: int) -> list[Measurement]:
    return [
        measure_command(root, rounds),
        measure("library to disk", root, "disk", rounds, 0.55),
        measure("further samples in memory", root, "memory", rounds, 1 / 3),
    ]


def measure_command(root: Path, rounds: int) -> Measurement:
    """The whole command, start-up included: `mergefront merge --at` against `mergekit-yaml`."""
    study, recipe = write_study(root), write_recipe(root, "task_arithmetic")
    ours = [Path(sys.executable).with_name("mergefront"), "merge", study, "--at", ",".join(map(str, COEFFICIENTS)), "--force"]
    theirs = [PEERS / "mergekit-yaml", recipe, BENCH / "out-peer", "--no-copy-tokenizer", "--quiet"]
    seconds, peers = [], []
    for _ in range(rounds):
        seconds.append(time_command([*ours, "--out", BENCH / "out"]))
        peers += [time_command(theirs)] if PEERS.exists() else []
    return Measurement("command", min(seconds), min(peers, default=None), 1 / 3)


def measure(name: str, root: Path, mode: str, rounds: int, target: float | None, peer: bool = True) -> Measurement:
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(run(sys.executable, HERE / "mergefront_speed.py", root, BENCH / "out", "--mode", mode))
        if peer and PEERS.exists():
            theirs.append(run_peer(root, mode))
    return Measurement(
        name,
        min(second for turn in ours for second in turn["seconds"]),
        min((second for turn in theirs for second in turn["seconds"]), default=None),
        target,
        max(turn["anonymous_bytes"] for turn in ours),
        max((turn["peak_bytes"] for turn in theirs), default=0),
    )


def run_peer(root: Path, mode: str) -> dict:
    recipe = write_recipe(root, "ties" if mode == "ties" else "task_arithmetic")
    arguments = ["--mode", "memory" if mode == "memory" else "disk", "--runs", "1" if mode == "ties" else "3"]
    return run(PEERS / "python", HERE / "peers" / "mergekit_speed.py", recipe, BENCH / "out-peer", *arguments)


def run(*command: object) -> dict:
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{finished.stderr}")
    return json.loads(finished.stdout.splitlines()[-1])


def time_command(command: Sequence[object]) -> float:
    start = time.perf_counter()
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{finished.stderr}")
    return time.perf_counter() - start


def write_study(root: Path) -> Path:
    """The least manifest that names the models; a merge at given coefficients reads none of its data."""
    (BENCH / "text.jsonl").write_text("".join(json.dumps({"text": f"line {number}"}) + "\n" for number in range(8)))
    study = {
        "name": "merge-speed",
        "models": {"base": str(root / "base"), "tuned": {name: str(root / name) for name in TUNED}},
        "architecture": {"transformers": "AutoModelForCausalLM"},
        "tasks": {"text": {"data": "text.jsonl", "metric": "perplexity"}},
    }
    path = BENCH / "study.json"
    path.write_text(json.dumps(study))
    return path


def write_recipe(root: Path, method: str) -> Path:
    """What mergekit is asked for, in its own format, which is YAML and so may be JSON."""
    density = {"density": 0.2} if method == "ties" else {}
    models = [
        {"model": str(root / name), "parameters": {"weight": weight} | density} for name, weight in zip(TUNED, COEFFICIENTS, strict=True)
    ]
    path = BENCH / f"{method}.yml"
    path.write_text(json.dumps({"merge_method": method, "base_model": str(root / "base"), "models": models, "dtype": "bfloat16"}))
    return path


def show(measurements: Sequence[Measurement]) -> None:
    print(f"{'measurement':<30}{'ours':>9}{'mergekit':>10}{'ratio':>8}{'target':>8}{'anonymous':>12}{'their peak':>12}")
    for one in measurements:
        peer = f"{one.peer_seconds:9.2f}s{one.seconds / one.peer_seconds:8.3f}" if one.peer_seconds else f"{'-':>10}{'-':>8}"
        target = f"{one.target:8.3f}" if one.target else f"{'-':>8}"
        print(f"{one.name:<30}{one.seconds:8.2f}s{peer}{target}{one.anonymous_bytes / 1e6:10.0f}MB{one.peer_peak_bytes / 1e6:10.0f}MB")


if __name__ == "__main__":
    main()
