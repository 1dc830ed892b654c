"""The life of one chunk in a worker: look, bind, claim, tokenise, compute, close."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from typing import TypeVar

from db.defaults import TOKENISE_LIMIT_SECONDS, WRITE_LIMIT_SECONDS
from db.errors import LabelstreamError, ServiceUnavailable, one_line
from db.ledger.claiming import Claim, JobFacts, claim, fail_job, hand_back, look_at
from db.ledger.closing import Landed, end_after, write
from db.ledger.payload import ChunkRows, unpack
from db.ledger.results import ChunkResult, LabeledRows, WorkerReject
from db.registry.versions import Version
from db.store import Store, dump_json
from db.text import escaped_raw, text_hash
from worker.choosing import UNAVAILABLE, VersionChooser
from worker.encoder import EncodedRows
from worker.engine_threads import Binding, ChunkLogits, EngineThreads
from worker.gate import Gate, GateClosed
from worker.keeper import Hold, LeaseKeeper
from worker.logs import tell
from worker.messages import ChunkMessage
from worker.metrics import CHUNKS, REUSED_ROWS, ROWS
from worker.predictions import predict
from worker.tokenising import tokenise

Result = TypeVar("Result")
Value = TypeVar("Value")

log = logging.getLogger(__name__)

#: Tries to load the version that a job names, after which the job fails with the reason.
LOAD_TRIES = 3

#: Seconds between two looks at whether the lease was lost while a chunk is computed.
_LOOK_SECONDS = 0.5


#: Jobs of which a worker remembers what never changes.
_JOBS_KNOWN = 1000


class Withdrawn(Exception):
    """The chunk was given up before its rows were computed."""


class ChunkLabeler:
    """Labels chunks; called by many Celery threads at once."""

    def __init__(
        self,
        store: Store,
        ledger: str,
        engine: EngineThreads,
        chooser: VersionChooser,
        keeper: LeaseKeeper,
        worker: str,
    ) -> None:
        self._store = store
        self._chooser = chooser
        self._ledger = ledger
        self._engine = engine
        self._keeper = keeper
        self._worker = worker
        self._gate = Gate()
        self._draining = threading.Event()
        #: Jobs that ran when a chunk of theirs was claimed: what is known of a job never changes, but
        #: for its state.
        self._jobs: dict[int, JobFacts] = {}
        self._jobs_lock = threading.Lock()
        #: The different errors of a model's loads since it was last loaded.
        self._load_failures: dict[str, list[LabelstreamError]] = {}

    def drain(self) -> None:
        """Begin nothing more; chunks that have not begun to be computed are handed back."""
        self._draining.set()
        # Who waits at the gate, or for a model to load, holds no chunk yet.
        self._gate.close()
        self._engine.leave()

    def label(self, message: ChunkMessage) -> bool:
        """Label the chunk that `message` names, if it is to be had.

        Whatever becomes of it stands in the ledger when this returns. False if this worker leaves
        and the chunk is another's to label: the message is then given back rather than
        acknowledged.
        """
        if message.ledger != self._ledger:
            log.error(
                "refused: a message of ledger %.12s, but this worker's is %.12s; "
                "give both the same LABELSTREAM_DATABASE_URL",
                message.ledger,
                self._ledger,
            )
            return True
        try:
            return not self._draining.is_set() and self._label(message)
        except (ServiceUnavailable, CancelledError, GateClosed):
            if self._draining.is_set():
                return False
            raise

    def _label(self, message: ChunkMessage) -> bool:
        known = self._jobs.get(message.job)
        if known is not None:
            # Nearly always there is nothing that a look at the chunk would tell.
            labeled = self._try(known, message.chunk, alone=False)
            if labeled is not None:
                return labeled
        state = self._retrying(lambda: look_at(self._store, message.job, message.chunk))
        if state is None or state.state != "queued" or state.job.state != "running":
            log.debug("dropped: job %s chunk %s is not to be had", message.job, message.chunk)
            if state is None or state.job.state != "running":
                self._forget(message.job)
            return True
        # Taken by another meanwhile, it is theirs.
        return self._try(state.job, message.chunk, alone=state.suspect) is not False

    def _remember(self, job: JobFacts) -> None:
        with self._jobs_lock:
            while len(self._jobs) >= _JOBS_KNOWN:
                del self._jobs[next(iter(self._jobs))]
            self._jobs[job.id] = job

    def _forget(self, job: int) -> None:
        """Look at the job's next chunk before its model is loaded: there may be no need to."""
        with self._jobs_lock:
            self._jobs.pop(job, None)

    def _try(self, job: JobFacts, number: int, *, alone: bool) -> bool | None:
        """Label a chunk if it can be claimed so; None if it cannot, False as `label` says it."""
        bound = self._bind(job)
        if bound is None:
            self._forget(job.id)
            return True
        with bound as binding:
            return self._run_claimed(job, number, binding, alone=alone)

    def _bind(self, job: JobFacts) -> Binding | None:
        """Hold the version that is to label the job's chunks; None if there is none to be had."""
        reference = job.model_ref
        try:
            binding = self._chooser.bind(reference)
        except UNAVAILABLE:
            # Not the model's fault: the chunk is sent again.
            raise
        except LabelstreamError as error:
            self._count_failure(job, error)
            return None
        self._load_failures.pop(reference, None)
        return binding

    def _count_failure(self, job: JobFacts, error: LabelstreamError) -> None:
        reference = job.model_ref
        reason = one_line(error)
        log.error("job %s: model %s cannot be had: %s", job.id, reference, reason)
        failures = self._load_failures.setdefault(reference, [])
        # Threads that waited for one load all get the same error: it failed once.
        if not any(error is known for known in failures):
            failures.append(error)
        if len(failures) >= LOAD_TRIES:
            self._load_failures.pop(reference, None)
            reason = f"model {reference} was refused {LOAD_TRIES} times: {reason}"
            if self._retrying(lambda: fail_job(self._store, job.id, reason)):
                log.error("job %s failed: %s", job.id, reason)

    def _run_claimed(
        self, job: JobFacts, number: int, binding: Binding, *, alone: bool
    ) -> bool | None:
        with self._gate.alone() if alone else self._gate.together():
            held = self._retrying(
                lambda: claim(self._store, job, number, self._worker, alone=alone)
            )
            if held is None:
                return None
            self._remember(job)
            with self._keeper.holding(held) as hold:
                return self._run_held(held, hold, binding)

    def _run_held(self, held: Claim, hold: Hold, binding: Binding) -> bool:
        started = time.monotonic()
        rows = unpack(held.payload)
        # A tokeniser that hangs would keep its chunk, and the gate, for as long as the process lives.
        with (
            hold.step(TOKENISE_LIMIT_SECONDS),
            self._engine.guarding(TOKENISE_LIMIT_SECONDS),
        ):
            encoded, refused = tokenise(binding.encode, rows.texts)
        try:
            logits = self._compute(binding, encoded, hold)
        except Withdrawn:
            if self._retrying(lambda: hand_back(self._store, held)):
                CHUNKS.labels("handed_back").inc()
                log.info("handed back: job %s chunk %s", held.job.id, held.number)
            return False
        logits = replace(logits, rejected={**logits.rejected, **refused})

        def close() -> tuple[ChunkResult, Landed | None]:
            with self._store.turn():
                result = _result(rows, encoded, logits, binding.version, binding.engine_name)
                closing = write(self._store, held, result)
            if closing.landed is not None:
                _count(closing.landed, result, logits)
            # Others may write meanwhile: a job's end is tried for as long as it takes.
            end_after(self._store, held, closing)
            return result, closing.landed

        with hold.step(WRITE_LIMIT_SECONDS):
            result, landed = self._store.retrying(close, on_trouble=log.warning)
        if landed is None:
            CHUNKS.labels("lost").inc()
            log.warning(
                "fenced: job %s chunk %s was taken from this worker, or a first try was written and "
                "its answer lost; nothing was written now",
                held.job.id,
                held.number,
            )
            return True
        tell(
            log,
            "chunk done",
            job=held.job.id,
            chunk=held.number,
            model=binding.version.model,
            model_version=binding.version.version,
            engine=binding.engine_name,
            rows=len(rows),
            rejected=landed.rejected,
            tokens=result.tokens,
            ms=round((time.monotonic() - started) * 1000),
            compute_ms=round(result.busy_seconds * 1000),
            repeated=logits.repeated,
            remembered=logits.remembered,
        )
        return True

    def _retrying(self, transaction: Callable[[], Result]) -> Result:
        """Run a transaction for which no results wait: one that fails is not tried on leaving."""
        return self._store.retrying(transaction, on_trouble=log.warning, give_up=self._draining)

    def _compute(self, binding: Binding, encoded: EncodedRows, hold: Hold) -> ChunkLogits:
        future = self._engine.submit(binding, encoded)
        while True:
            try:
                return future.result(timeout=_LOOK_SECONDS)
            except FutureTimeoutError:
                given_up = hold.lost.is_set() or self._draining.is_set()
                if given_up and self._engine.withdraw(future):
                    raise Withdrawn from None
            except CancelledError:
                raise Withdrawn from None


def _count(landed: Landed, result: ChunkResult, logits: ChunkLogits) -> None:
    CHUNKS.labels("done").inc()
    by = (result.model, str(result.model_version), result.engine)
    ROWS.labels("labeled", *by).inc(landed.labeled)
    ROWS.labels("rejected", *by).inc(landed.rejected)
    REUSED_ROWS.labels("repeated").inc(logits.repeated)
    REUSED_ROWS.labels("remembered").inc(logits.remembered)


def _result(
    rows: ChunkRows, encoded: EncodedRows, logits: ChunkLogits, version: Version, engine: str
) -> ChunkResult:
    """Put together what the model said and what the rows are."""
    said = predict(
        logits.logits,
        labels=version.labels,
        temperature=version.temperature_on(engine),
        unsure_below=version.unsure_below,
        multi_label=version.multi_label,
    )
    taken = [index for index in range(len(rows)) if index not in logits.rejected]

    def column(values: Sequence[Value]) -> Sequence[Value]:
        # Nearly always no row is rejected.
        return [values[index] for index in taken] if logits.rejected else values

    extra = rows.extra or [None] * len(rows)
    texts = column(rows.texts)
    return ChunkResult(
        labeled=LabeledRows(
            row_numbers=column(rows.row_numbers),
            external_ids=column(rows.external_ids),
            texts=texts,
            text_hashes=[text_hash(text) for text in texts],
            truncated=column(encoded.truncated.tolist()),
            labels=column(said.labels),
            confidences=column(said.confidences),
            scores=column(said.scores),
            every_label=column(said.every_label),
            unsure=column(said.unsure),
            extra=[None if kept is None else dump_json(kept) for kept in column(extra)],
        ),
        rejected=[
            WorkerReject(rows.row_numbers[index], reason, escaped_raw(rows.texts[index]))
            for index, reason in sorted(logits.rejected.items())
        ],
        model=version.model,
        model_version=version.version,
        engine=engine,
        tokens=logits.tokens,
        busy_seconds=logits.busy_seconds,
    )
