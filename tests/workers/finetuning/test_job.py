"""Fine-tunings that were asked for: pieces, leases, cancelling, and what is registered in the end."""

import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest

from app.actions.finetunes import cancel_finetune, local_finetune, register_adapter, submit_finetune
from app.actions.localise import Source
from app.actions.register import Registry
from app.blobs.memory import MemoryBlobs
from app.domain.checkpoint import Checkpoint, Dataset
from app.domain.errors import UnavailableError
from app.domain.finetune import Claim, Finetune, FinetuneStatus
from app.domain.trial import MAX_ATTEMPTS
from app.jobs.inline import InlineJobs
from app.store.memory_catalog import MemoryCatalog
from checkpoints.digest import digest_file
from workers.finetuning.finetune import finetune
from workers.finetuning.job import Bench, carry_out
from workers.sweeper import sweep_finetunes

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def bench(tmp_path):
    catalog, blobs = MemoryCatalog(), MemoryBlobs(tmp_path)
    source = Source(blobs, tmp_path / "local")
    register = partial(register_adapter, Registry(catalog, source))
    return Bench(catalog, InlineJobs(), partial(local_finetune, catalog, source), register, tmp_path / "finetunes", "me", "cpu")


def submitted(bench, spec):
    return submit_finetune(bench.catalog, bench.jobs, "acme", spec, "digest")


def now(bench, asked):
    return bench.catalog.one(Finetune, "acme", asked.id)


def drain(bench):
    """How many jobs it took until none was left."""
    return sum(1 for _ in bench.jobs.drain({"train_adapter": partial(carry_out, bench)}))


class TestFinished:
    def test_the_adapter_is_a_registered_checkpoint(self, bench, spec_of, tmp_path):
        asked = submitted(bench, spec_of("tangent"))
        assert drain(bench) == 1
        row = now(bench, asked)
        assert row.status is FinetuneStatus.FINISHED and row.head == ""
        checkpoint = bench.catalog.one(Checkpoint, "acme", row.checkpoint)
        assert checkpoint.kind == "tangent"
        whole = finetune(spec_of("tangent"), tmp_path / "whole", "cpu")
        assert dict(row.scores) == dict(whole.scores)
        assert len(bench.catalog.holdings("acme", list(checkpoint.files.values()))) == 2
        assert checkpoint.files["adapter_model.safetensors"] == digest_file(tmp_path / "whole" / "adapter_model.safetensors")
        assert [event.kind for event in row.events] == [
            "finetune.submitted", "finetune.running", *["finetune.epoch"] * len(whole.epochs), "finetune.finished"
        ]
        assert list(bench.place.iterdir()) == []

    def test_a_head_is_registered_beside_it(self, bench, spec_of):
        asked = submitted(bench, spec_of("llora", head=True, epochs=1))
        drain(bench)
        assert bench.catalog.one(Dataset, "acme", now(bench, asked).head).files.keys() == {"head.safetensors"}

    def test_in_pieces_it_comes_to_the_same(self, bench, spec_of, tmp_path):
        ticks = iter(range(10_000))
        pieces = replace(bench, clock=lambda: float(next(ticks)), piece_seconds=9.0)
        asked = submitted(pieces, spec_of("llora"))
        assert drain(pieces) > 2
        row = now(pieces, asked)
        finetune(spec_of("llora"), tmp_path / "whole", "cpu")
        checkpoint = pieces.catalog.one(Checkpoint, "acme", row.checkpoint)
        assert checkpoint.files["adapter_model.safetensors"] == digest_file(tmp_path / "whole" / "adapter_model.safetensors")
        assert row.attempts == 1

    def test_what_was_trained_but_not_registered_is_not_trained_again(self, bench, spec_of):
        asked = submitted(bench, spec_of())
        finetune(spec_of(), bench.place / asked.id, "cpu")
        drain(replace(bench, localise=lambda row: pytest.fail("trained again")))
        assert now(bench, asked).status is FinetuneStatus.FINISHED


class TestEnded:
    def test_a_loss_that_explodes_fails_it(self, bench, spec_of):
        asked = submitted(bench, spec_of("tangent", learning_rate=1e38))
        drain(bench)
        row = now(bench, asked)
        assert (row.status, row.failure.code) == (FinetuneStatus.FAILED, "measurement")

    def test_what_does_not_fit_fails_it(self, bench, spec_of):
        spec = spec_of()
        asked = submitted(bench, replace(spec, adapter=replace(spec.adapter, targets=("query",))))
        drain(bench)
        assert "matches no layer" in now(bench, asked).failure.message

    def test_what_is_no_longer_registered_fails_it(self, bench, spec_of):
        asked = submitted(bench, spec_of())
        # it keeps what it names, unless a release from before this rule dropped it
        bench.catalog.replace(asked, renamed := replace(asked, spec=replace(asked.spec, base="ckpt_" + "0" * 26)))
        drain(bench)
        assert now(bench, renamed).failure.code == "gone"

    def test_cancelled_while_it_trains_it_stops_and_leaves_nothing(self, bench, spec_of):
        asked = submitted(bench, spec_of(epochs=500, patience=500))

        def localise(row):
            cancel_finetune(bench.catalog, row)
            return bench.localise(row)

        begun = time.monotonic()
        drain(replace(bench, localise=localise))
        row = now(bench, asked)
        assert row.status is FinetuneStatus.CANCELLED and row.checkpoint == ""
        assert not (bench.place / asked.id).exists() and time.monotonic() - begun < 60

    def test_what_a_killed_one_left_behind_goes_with_the_next(self, bench, spec_of):
        killed, waiting = submitted(bench, spec_of()), submitted(bench, spec_of(epochs=1))
        for asked in (killed, waiting):
            (bench.place / asked.id).mkdir(parents=True)
        cancel_finetune(bench.catalog, killed)
        carry_out(bench, "finetune_unknown")
        assert [path.name for path in bench.place.iterdir()] == [waiting.id]

    def test_trains_under_the_guard_of_its_claim(self, bench, spec_of):
        held, seen = [], []

        @contextmanager
        def guard(claim):
            held.append(claim)
            yield
            held.remove(claim)

        def localise(row):
            seen.extend(held)
            return bench.localise(row)

        asked = submitted(bench, spec_of(epochs=1))
        drain(replace(bench, guard=guard, localise=localise))
        assert (seen, held) == ([Claim(asked.id, "acme", 1)], [])

    def test_attempts_that_ended_without_a_word_fail_it(self, bench, spec_of):
        asked = submitted(bench, spec_of())
        row = now(bench, asked)
        bench.catalog.replace(row, replace(row, status=FinetuneStatus.RUNNING, attempts=MAX_ATTEMPTS, until=0.0))
        drain(bench)
        assert now(bench, asked).failure.code == "attempts"


class TestHeld:
    def test_what_another_holds_is_left_alone(self, bench, spec_of):
        asked = submitted(bench, spec_of())
        row = now(bench, asked)
        bench.catalog.replace(row, row.claimed("another", time.time() + 60, NOW))
        drain(bench)
        assert now(bench, asked).owner == "another"

    def test_a_place_out_of_reach_costs_no_attempt(self, bench, spec_of):
        asked = submitted(bench, spec_of())

        def localise(row):
            raise UnavailableError("no blobs")

        with pytest.raises(UnavailableError):
            carry_out(replace(bench, localise=localise), asked.id)
        row = now(bench, asked)
        assert (row.attempts, row.until, row.status) == (0, None, FinetuneStatus.RUNNING)

    def test_the_sweeper_wakes_what_nobody_trains(self, bench, spec_of):
        waiting, held, ended = (submitted(bench, spec_of()) for _ in range(3))
        list(bench.jobs.drain({"train_adapter": lambda finetune_id: None}))
        for row, change in ((held, now(bench, held).claimed("me", 100.0, NOW)), (ended, now(bench, ended).cancelled(NOW))):
            bench.catalog.replace(row, change)
        woken = []
        for time_now in (50.0, 150.0):
            sweep_finetunes(bench.catalog, bench.jobs, time_now)
            list(bench.jobs.drain({"train_adapter": woken.append}))
        assert woken == [waiting.id, waiting.id, held.id]
