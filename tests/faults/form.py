"""How long a fault's job is, and how long the fault lasts: for acceptance, and for every day."""

from dataclasses import dataclass

from db.defaults import LEASE_SECONDS


@dataclass(frozen=True)
class Form:
    """The sizes and times of one fault. Times are in seconds."""

    rows: int
    chunk_rows: int
    #: Chunks that may be open at once; fewer than the job has, so that it is read bit by bit.
    max_open: int
    #: What the engine takes for a row; 0 for a real model, which takes its own time.
    pace: float
    #: Factor of the ledger's lease, renewal, sweep and resend times.
    clock: float
    #: For how long a server is away that is stopped and started.
    away: float
    #: For how long a connection is cut.
    cut: float
    #: For how long a worker is stopped that comes back.
    stopped: float
    #: Within which whoever is asked to leave has left.
    leave: float
    #: Within which everything is to be over after the fault.
    patience: float

    @property
    def lease(self) -> float:
        """How long a worker or producer that is gone keeps what it held."""
        return LEASE_SECONDS * self.clock


#: As long as the acceptance wants it: 32 rows in 200 ms, so that two workers take 62 s.
LONG = Form(
    rows=20_000,
    chunk_rows=256,
    max_open=24,
    pace=0.2 / 32,
    clock=1.0,
    away=5.0,
    cut=20.0,
    stopped=40.0,
    leave=30.0,
    patience=400.0,
)

#: For every run of the tests.
SHORT = Form(
    rows=1_500,
    chunk_rows=64,
    max_open=14,
    pace=0.003,
    clock=0.25,
    away=1.0,
    cut=3.0,
    stopped=6.0,
    leave=60.0,
    patience=200.0,
)
