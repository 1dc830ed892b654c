"""Every lease time, interval and limit of the ledger, named once.

The reasons are in docs/guarantees.md; tests that need shorter ones pass their own values.
"""

#: Seconds that a claimed chunk, or a producer's job, is held without a sign of progress.
LEASE_SECONDS = 15.0

#: Seconds between two renewals of a lease, by progress only.
RENEW_SECONDS = 5.0

#: Seconds between two sweeps in every producer and worker.
SWEEP_SECONDS = 5.0

#: Seconds after which a message that nothing was heard of may be sent again.
RESEND_AFTER_SECONDS = 10.0

#: Messages sent again in one sweep, at most.
RESENDS_A_SWEEP = 100

#: Rows of a full chunk.
CHUNK_ROWS = 256

#: Bytes of text (UTF-8) at which a chunk is closed before it has its rows.
CHUNK_BYTES = 1_048_576

#: Chunks of one job that may be open (queued or leased) at once: 64 chunks of 256 rows keep four
#: threads busy for seconds and bound what the ledger holds in payloads.
MAX_QUEUED_CHUNKS = 64

#: Seconds after its first row at which a chunk of a stream is closed before it is full.
MAX_WAIT_SECONDS = 0.5

#: Rows of a stream that are read ahead of the ledger, in chunks, and about how many bytes of text.
LIVE_CHUNKS = 4
LIVE_BYTES = 4 * CHUNK_BYTES

#: Seconds past its lease for which the producer of a pipe is waited for before its job is ended: as
#: long as it tries again itself, for what it has read stands nowhere else. Other streams deliver
#: again what their producer had not entered, and are ended with its lease.
PIPE_PATIENCE_SECONDS = 300.0

#: Rows and bytes (as JSON) of one task that another Celery client sends, at most.
TASK_ROWS = 1000
TASK_BYTES = 1_048_576

#: Jobs that one worker keeps open for such tasks: one for each model, scope, queue and so on.
TASK_JOBS = 32

#: Seconds for which a task is remembered, so that it is not entered again; queues that deliver a
#: message after more than a week are not served. And how many are forgotten in one sweep, at most.
TASK_NOTES_SECONDS = 7 * 86_400.0
TASK_NOTES_A_SWEEP = 10_000

#: The largest number that both databases store, and that people may write.
LARGEST_NUMBER = 2**63 - 1

#: The queue that a worker serves when nothing else is said.
QUEUE = "labelstream"

#: Version of the queue's message; a worker takes its own and the one before.
MESSAGE_VERSION = 1

#: Longest `raw` of a reject, in characters after escaping.
REJECT_RAW_CHARACTERS = 4096

#: Longest `id_scope`, in characters; an entry of an index of PostgreSQL has room for 2,704 bytes.
SCOPE_CHARACTERS = 300

#: Seconds within which a service that cannot be reached at the start is given up.
START_TIMEOUT_SECONDS = 10.0

#: Seconds for which a connection lost in the middle of a job is tried again.
LOST_CONNECTION_SECONDS = 300.0

#: Seconds that a worker has to leave in order after TERM; what it still holds then is left to its
#: leases. Below the 30 s that whoever stopped it waits.
LEAVE_SECONDS = 25.0

#: Seconds that it has, once it holds nothing, to give messages back and to sign off.
SIGN_OFF_SECONDS = 10.0

#: Seconds that a step of a held chunk may take while its lease is renewed all the same.
TOKENISE_LIMIT_SECONDS = 60.0
WRITE_LIMIT_SECONDS = 60.0
LOAD_LIMIT_SECONDS = 180.0

#: Seconds in which a version may be built for this processor, once it is merged, before the engine that
#: needs no build takes its place.
BUILD_LIMIT_SECONDS = 120.0

#: Seconds in which an embedded worker must be ready: at its first start it merges, builds and loads,
#: each with its own limit, and a machine that is slow at all three is none that hangs.
FIRST_START_SECONDS = LOAD_LIMIT_SECONDS + BUILD_LIMIT_SECONDS + LOAD_LIMIT_SECONDS

#: Seconds for which a worker that could not have a version built makes do with the engine that needs
#: no build, before it tries again at the version's next load: a disk or a database may be back then.
BUILD_AGAIN_SECONDS = 600.0

#: Padded tokens (rows times longest row) of one micro-batch on CPUs at the most: the more there are,
#: the more differ its rows in length, and the more of it is padding.
MICRO_BATCH_TOKENS = 2048

#: Versions that a worker keeps loaded; the least recently used leaves.
MAX_LOADED = 3

#: MiB of logits that a worker remembers: about 175,000 tweets with six labels each.
CACHE_MB = 64

#: Seconds for which a worker goes by what a reference to a model named, before it asks again.
FRESH_SECONDS = 0.05

#: Seconds between two looks at whether an alias has moved: a promotion is noticed within 2 s.
WATCH_SECONDS = 1.0

#: Seconds until a version that could not be loaded is tried again: at first, and at most.
REFUSED_PAUSE_SECONDS = 5.0
REFUSED_PAUSE_LIMIT_SECONDS = 300.0

#: Seconds after which an alias that no job asked for is not watched any more.
ALIAS_FORGOTTEN_SECONDS = 600.0

#: Seconds after which a process that hangs inside one micro-batch ends itself.
MICRO_BATCH_LIMIT_SECONDS = 60.0

#: Seconds after which a worker that gave no sign counts as gone.
WORKER_GONE_SECONDS = 20.0

#: Seconds after which it is forgotten, if nobody could see how it ended.
WORKER_FORGOTTEN_SECONDS = 86_400.0

#: Times that a row may be alone in a worker process whose lease is lost before it is rejected.
ROW_STRIKES = 2

#: The model that comes with Labelstream and registers itself at first use.
STARTER_MODEL = "emotion"
