"""The `producer` command."""

import math
import re
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from db.defaults import CHUNK_ROWS, LARGEST_NUMBER, MAX_QUEUED_CHUNKS, MAX_WAIT_SECONDS, QUEUE
from db.errors import JobFailed, UsageError, run_command
from producer.looking import add_commands

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Read text from files and streams, have it labelled by workers, and look at the results.",
)


#: The value of an option, or None where it was not given.
Text = TypeVar("Text", str, str | None)


class SourceFormat(StrEnum):
    """How a source is written."""

    AUTO = "auto"
    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    TEXT = "text"


Wait = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait",
        help="Stay until the job ends (default at a terminal and in embedded mode), or leave it "
        "to the workers.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="NAME, NAME@ALIAS or NAME:VERSION.", show_default="LABELSTREAM_MODEL or emotion"
    ),
]
ChunkRows = Annotated[int, typer.Option(min=1, max=10_000, help="Rows of a chunk.")]
MaxQueued = Annotated[int, typer.Option(min=1, help="Chunks that may be open at once.")]
Queue = Annotated[str, typer.Option(help="Queue of the workers that are to do it.")]


@app.command()
def ingest(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Paths, globs or URLs (.gz and .zst are read as they are), - for standard input, or "
            "redis://HOST/DB?stream=NAME&group=NAME."
        ),
    ],
    model: Model = None,
    text_column: Annotated[
        str | None, typer.Option(help="Column of the text.", show_default="guessed")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Column of your own id.", show_default="guessed")
    ] = None,
    keep_columns: Annotated[
        str | None, typer.Option(help="Columns to keep beside the label: a,b,c.")
    ] = None,
    source_format: Annotated[
        SourceFormat, typer.Option("--format", help="How the source is written.")
    ] = SourceFormat.AUTO,
    delimiter: Annotated[
        str, typer.Option(help="Between two fields; auto finds , ; tab or |.")
    ] = "auto",
    encoding: Annotated[str, typer.Option(help="Of the text, such as latin-1.")] = "utf-8",
    chunk_rows: ChunkRows = CHUNK_ROWS,
    max_queued: MaxQueued = MAX_QUEUED_CHUNKS,
    max_wait: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds after its first row at which a stream's chunk is closed."
        ),
    ] = MAX_WAIT_SECONDS,
    queue: Queue = QUEUE,
    follow: Annotated[
        bool, typer.Option("--follow", help="Read a growing file on and on, as tail -F does.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Read no more rows than this.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every row, label 200, keep nothing.")
    ] = False,
    max_rejects: Annotated[
        str | None, typer.Option(help="Fail the job at more rejects: N or P%.")
    ] = None,
    store_text: Annotated[
        bool, typer.Option("--store-text/--no-store-text", help="Keep the texts in the database.")
    ] = True,
    job_key: Annotated[
        str | None, typer.Option(help="Your own name for this job; the same key is one job.")
    ] = None,
    id_scope: Annotated[
        str | None,
        typer.Option(help="Where ids are unique.", show_default="the source"),
    ] = None,
    wait: Wait = None,
    again: Annotated[
        bool, typer.Option("--again", help="Label rows that are labelled already, in a new job.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Label every row of SOURCE and keep the results in SQL."""
    from db.settings import get_settings
    from producer import dry_run as dry
    from producer.entering import enter
    from producer.request import IngestRequest
    from producer.rows import ReadOptions
    from producer.screen import Screen

    settings = get_settings()
    request = IngestRequest(
        sources=tuple(source),
        model=model or settings.model,
        read=ReadOptions(
            text_column=text_column,
            id_column=id_column,
            keep_columns=_names(keep_columns),
            format=source_format.value,
            delimiter=delimiter,
            encoding=encoding,
            limit=None if limit is None else min(limit, LARGEST_NUMBER),
        ),
        chunk_rows=chunk_rows,
        max_queued=min(max_queued, LARGEST_NUMBER),
        queue=_one_queue(queue),
        max_rejects=_max_rejects(max_rejects),
        store_text=store_text,
        job_key=_not_empty("--job-key", job_key),
        id_scope=id_scope,
        wait=_waits(wait, embedded=settings.embedded),
        again=again,
        dry_run=dry_run,
        follow=follow,
        max_wait=_seconds("--max-wait", max_wait),
    )
    with Screen() as screen:
        if dry_run:
            result = dry.dry_run(request, settings, screen)
            _tell_dry_run(result, as_json=as_json)
            return
        outcome = enter(request, settings, screen)
    _tell(outcome, as_json=as_json)


@app.command()
def relabel(
    job: Annotated[int, typer.Argument(min=1, help="A finished job whose texts were stored.")],
    model: Model = None,
    chunk_rows: ChunkRows = CHUNK_ROWS,
    max_queued: MaxQueued = MAX_QUEUED_CHUNKS,
    queue: Queue = QUEUE,
    wait: Wait = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also if the same model relabelled it before.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Label the stored texts of JOB again, with another model, in a new job."""
    from db.settings import get_settings
    from producer.relabeling import relabel as run_relabel
    from producer.screen import Screen

    settings = get_settings()
    with Screen() as screen:
        outcome = run_relabel(
            job,
            model,
            settings,
            screen,
            chunk_rows=chunk_rows,
            max_queued=min(max_queued, LARGEST_NUMBER),
            queue=_one_queue(queue),
            wait=_waits(wait, embedded=settings.embedded),
            again=again,
        )
    _tell(outcome, as_json=as_json)


@app.command()
def resume(
    job: Annotated[int, typer.Argument(min=1, help="A job whose producer died or was stopped.")],
    wait: Wait = None,
    as_json: Json = False,
) -> None:
    """Go on with JOB where it stopped, by its own options; what is done is not read again."""
    from db.settings import get_settings
    from producer.resuming import resume as run_resume
    from producer.screen import Screen

    settings = get_settings()
    with Screen() as screen:
        waits = _waits(wait, embedded=settings.embedded)
        outcome = run_resume(job, settings, screen, wait=waits)
    _tell(outcome, as_json=as_json)


add_commands(app)


def _names(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _not_empty(option: str, value: Text) -> Text:
    # An unset variable of a shell script: taken as it is, every file would be one job.
    if value is not None and not value.strip():
        raise UsageError(f"{option} is empty; give it a value, or leave it out")
    return value


def _one_queue(value: str) -> str:
    # A worker's -Q splits at commas: none could serve it.
    if "," in value:
        raise UsageError(f"--queue {value!r} has a comma; give the name of one queue")
    return _not_empty("--queue", value)


def _seconds(option: str, value: float) -> float:
    if not math.isfinite(value):
        raise UsageError(f"{option} {value} is no number of seconds")
    return value


def _max_rejects(text: str | None) -> str | None:
    if text is None or re.fullmatch(r"\d+|\d+(\.\d+)?%", text):
        return text
    raise UsageError(f"--max-rejects {text!r} is neither a number nor a share such as 5%")


def _waits(wait: bool | None, *, embedded: bool) -> bool:
    from producer.screen import is_at_terminal

    if embedded and wait is False:
        raise UsageError(
            "--no-wait needs workers that stay: in embedded mode the worker leaves with this "
            "command; leave --no-wait out, or set LABELSTREAM_BROKER_URL"
        )
    return embedded or (is_at_terminal() if wait is None else wait)


def _tell(outcome: Any, *, as_json: bool) -> None:
    """Print the summary, also of a job that failed; then raise `JobFailed` for such a one."""
    from producer.summary import print_summary
    from producer.terminal import show_json

    if as_json:
        show_json(outcome.summary.to_json())
    else:
        print_summary(outcome.summary)
    if outcome.failure is not None:
        raise JobFailed(outcome.failure)


def _tell_dry_run(result: Any, *, as_json: bool) -> None:
    """Print what a dry run found; then raise `JobFailed` if the job would fail."""
    from producer.terminal import show_json

    if as_json:
        show_json(result.to_json())
    else:
        _print_dry_run(result)
    if result.error is not None:
        raise JobFailed(f"the job would fail: {result.error}")


def _print_dry_run(result: Any) -> None:
    from producer.terminal import counted

    typer.echo(f"{counted(result.rows, 'row')}, {result.rejected:,} rejected")
    for reason, count in result.reasons.items():
        typer.echo(f"  {count:,} x {reason}")
    if result.sampled:
        mix = ", ".join(f"{label} {count}" for label, count in result.labels.items())
        typer.echo(f"labels of the first {result.sampled}: {mix}")
        typer.echo(
            f"the whole would take about {result.expected_seconds:,.0f} s "
            f"at {result.rows_per_second:,.0f} rows/s"
        )
    typer.echo("nothing was kept")


def main() -> None:
    """Run `producer`."""
    run_command(app)


if __name__ == "__main__":
    main()
