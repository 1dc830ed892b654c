"""The header of a CSV or TSV file, and its delimiter."""

from collections.abc import Iterator

from db.errors import UsageError
from producer.columns import looks_like_text
from producer.content import Sample
from producer.formats.binary import binary, refuse_binary
from producer.formats.csv_parsing import Broken, RowParser
from producer.formats.head import Head
from producer.formats.making import invalid
from producer.formats.naming import Format
from producer.lines import Block, LineWindow

#: Delimiters that are looked for, the likelier ones first.
DELIMITERS = (",", ";", "\t", "|")

#: Rows of the beginning that tell delimiter and columns.
_SAMPLE_ROWS = 100

_NAMES = {"\t": "tab", " ": "space"}
_SPELLED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


def delimiter_named(name: str) -> str | None:
    """Return the delimiter that a person names, None for `auto`; raises `UsageError`."""
    if name == "auto":
        return None
    delimiter = _SPELLED.get(name.lower(), name)
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise UsageError(
            f"--delimiter {name!r} is no single character; such as , ; | or tab (or auto)"
        )
    return delimiter


def csv_head(sample: Sample, format_: Format, delimiter: str | None, source: str) -> Head:
    """Return what a CSV begins with; raises `UsageError` where it has no usable header."""
    refuse_binary(sample, source)
    notes = []
    if delimiter is None:
        delimiter = "\t" if format_.name == "tsv" else _sniffed(sample)
        if format_.name == "csv" and delimiter != ",":
            notes.append(f"delimiter {_NAMES.get(delimiter, repr(delimiter))} found")
    codec = sample.encoding.codec
    rows = _rows(sample, _encoded(delimiter, sample))
    header, offset, line = _header(rows, sample, source)
    names = tuple(_decoded(name, sample, source).strip() for name in header)
    values: list[list[str]] = [[] for _ in names]
    for row, _, _ in rows:
        if isinstance(row, list) and len(row) == len(names):
            for column, value in zip(values, row, strict=True):
                column.append(value.decode(codec, "replace"))
    texts = tuple(
        name for name, column in zip(names, values, strict=True) if looks_like_text(column)
    )
    return Head(
        format=format_,
        encoding=sample.encoding,
        names=names,
        texts=texts,
        offset=sample.mark + offset,
        line=line,
        delimiter=delimiter,
        notes=tuple(notes),
    )


_SampleRow = tuple[list[bytes] | Broken, int, int]


def _rows(sample: Sample, delimiter: bytes) -> Iterator[_SampleRow]:
    """Yield the first rows that are not blank, each with the bytes and lines up to its end."""
    # Whole lines; a header that is not even one whole line is told apart by its absence.
    window = LineWindow(iter((Block(sample.whole_lines),)), 0, 0)
    window.load()
    parser = RowParser(window, delimiter, len(sample.data))
    for _ in range(_SAMPLE_ROWS):
        while window.index < len(window.lines) and not window.lines[window.index].strip(b"\r\n"):
            window.index += 1
        if window.index >= len(window.lines):
            return
        row = parser.row()
        yield row if isinstance(row, Broken) else row.values, *window.place()


def _header(
    rows: Iterator[_SampleRow], sample: Sample, source: str
) -> tuple[list[bytes], int, int]:
    first = next(rows, None)
    if first is None:
        if sample.complete:
            raise UsageError(f"{source} is empty but for line ends; there is nothing to label")
        raise UsageError(f"{source}: its first line is longer than a header may be")
    row, offset, line = first
    if isinstance(row, Broken):
        raise UsageError(f"{source}: the header cannot be read: {row.reason}; mend its first line")
    if any(b"\0" in name for name in row):
        raise binary(source, sample.data)
    return row, offset, line


def _decoded(name: bytes, sample: Sample, source: str) -> str:
    try:
        return name.decode(sample.encoding.codec)
    except UnicodeDecodeError:
        raise UsageError(
            f"{source}: the header is {invalid(sample.encoding.name)}, or the file is binary; "
            "try --encoding latin-1"
        ) from None


def _encoded(delimiter: str, sample: Sample) -> bytes:
    try:
        return delimiter.encode(sample.encoding.codec)
    except UnicodeEncodeError:
        raise UsageError(
            f"--delimiter {delimiter!r} does not exist in the encoding {sample.encoding.name}"
        ) from None


def _sniffed(sample: Sample) -> str:
    """Return the delimiter by which most of the first rows have as many fields as the header.

    Among equals, the one that makes more fields, then the likelier one. A comma where the header
    has none of them: a file of one column.
    """
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        counts = [
            0 if isinstance(row, Broken) else len(row)
            for row, _, _ in _rows(sample, delimiter.encode())
        ]
        if not counts or counts[0] < 2:
            continue
        score = (counts.count(counts[0]) / len(counts), counts[0])
        if score > best_score:
            best, best_score = delimiter, score
    return best
