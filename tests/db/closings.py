"""Closing a chunk as a worker does, in one call."""

from db.ledger.claiming import Claim
from db.ledger.closing import end_after, write
from db.ledger.results import ChunkResult
from db.store import Store


def close_chunk(store: Store, taken: Claim, result: ChunkResult) -> bool:
    """Write a chunk's results, and end its job if it was the last; False if the lease was lost."""
    closing = write(store, taken, result)
    end_after(store, taken, closing)
    return closing.landed is not None
