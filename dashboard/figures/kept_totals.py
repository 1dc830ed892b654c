"""The counts of jobs that are looked at again and again: what was counted once is not counted again."""

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from db.ledger.totals import GrowingTotals, JobTotals, job_totals
from db.store import Store

#: Jobs whose counts are kept; the one that was looked at least lately leaves.
KEPT_JOBS = 500


@dataclass
class _Kept:
    """What is known of one job."""

    growing: GrowingTotals
    #: Two who look at once do not count the same chunks twice.
    lock: Lock = field(default_factory=Lock)
    #: Of a job that is done; they change no more.
    final: JobTotals | None = None


class KeptTotals:
    """The counts of jobs; a look costs what a job has had since the last one, from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()
        self._kept: OrderedDict[int, _Kept] = OrderedDict()

    def of(self, job_id: int, state: str) -> JobTotals:
        """Return the counts of a job now; `state` is what it was just now."""
        if state == "purged":
            # A purge closes what was open, which changes counts; nobody watches such a job.
            with self._lock:
                self._kept.pop(job_id, None)
            return job_totals(self._store, job_id)
        kept = self._of_job(job_id)
        with kept.lock:
            if kept.final is not None:
                return kept.final
            found = kept.growing.now()
            if state == "done":
                kept.final = found
            return found

    def _of_job(self, job_id: int) -> _Kept:
        with self._lock:
            kept = self._kept.get(job_id)
            if kept is None:
                kept = self._kept[job_id] = _Kept(GrowingTotals(self._store, job_id))
            self._kept.move_to_end(job_id)
            while len(self._kept) > KEPT_JOBS:
                self._kept.popitem(last=False)
        return kept
