"""A growing file, through everything that writers and log rotation do to it: every row once, in order."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from producer import following, tail
from producer.tail import Tail
from tests.producer.followed import (
    Following,
    append,
    let_the_clock_move,
    numbered,
    rotate,
    stop_all,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nobody wait for long, and nobody read on after the test."""
    monkeypatch.setattr(tail, "QUIET_SECONDS", 0.2)
    for module in (tail, following):
        monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    yield
    stop_all()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_text("line 1\nline 2\n")
    return path


def test_what_is_there_is_read_and_then_what_is_appended(log: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    append(log, "line 3")
    follow.wait_for("line 1", "line 2", "line 3")
    assert follow.numbers == [1, 2, 3]
    assert follow.told == []


def test_a_line_is_read_when_it_is_whole(log: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    append(log, "li", end="")
    append(log, "ne ", end="")
    append(log, "3\nline 4\n", end="")
    follow.wait_for("line 1", "line 2", "line 3", "line 4")


def test_a_line_that_has_begun_at_a_stop_is_read_whole_by_the_next(log: Path) -> None:
    append(log, "line 3, which", end="")
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    position = follow.stop()
    assert (position["offset"], position["line"], position["row"]) == (14, 2, 2)
    append(log, " goes on")
    again = Following(log, position)
    again.wait_for("line 3, which goes on")
    assert again.numbers == [3]


def test_at_a_stop_a_file_that_was_removed_is_read_to_its_end(log: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    append(log, "line 3\nline 4, the last", end="")
    follow.wait_for("line 1", "line 2", "line 3")
    log.unlink()
    follow.stop()
    follow.wait_for("line 1", "line 2", "line 3", "line 4, the last")


def test_a_line_end_of_two_bytes_is_not_torn_apart_by_a_stop(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"line 1\r\nline 2\r")
    follow = Following(log)
    follow.wait_for("line 1")
    position = follow.stop()
    with log.open("ab") as file:
        file.write(b"\nline 3\r\n")
    Following(log, position).wait_for("line 2", "line 3")


@pytest.mark.parametrize("after", range(5))
def test_going_on_after_any_row_gives_the_rows_after_it(tmp_path: Path, after: int) -> None:
    log = tmp_path / "app.log"
    append(log, *numbered(1, 4))
    follow = Following(log)
    follow.wait_for(*numbered(1, 4))
    position = follow.stop(after)
    append(log, "line 5")
    Following(log, position).wait_for(*numbered(after + 1, 5))


def test_a_file_that_is_rotated_is_read_to_its_end_and_then_the_next(log: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    rotate(log)
    append(log.with_name("app.log.1"), "line 3")
    append(log, "line 4")
    follow.wait_for(*numbered(1, 4))
    assert follow.numbers == [1, 2, 3, 4]


def test_a_writer_that_does_not_know_of_the_rotation_yet_loses_nothing(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "QUIET_SECONDS", 3600.0)
    with log.open("a") as writer:
        follow = Following(log)
        follow.wait_for("line 1", "line 2")
        rotate(log)
        append(log, "line 5")
        for line in ("line 3", "line 4"):
            writer.write(f"{line}\n")
            writer.flush()
            follow.wait_for(*numbered(1, int(line[-1])))
    position = follow.stop()
    monkeypatch.setattr(tail, "QUIET_SECONDS", 0.0)
    Following(log, position).wait_for("line 5")


def test_the_last_line_of_a_rotated_file_counts_without_its_end(log: Path) -> None:
    append(log, "line 3", end="")
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    rotate(log)
    append(log, "line 4")
    follow.wait_for(*numbered(1, 4))


def test_a_gap_in_which_there_is_no_file_is_waited_out(log: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    log.unlink()
    append(log, "line 3")
    follow.wait_for(*numbered(1, 3))


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    follow = Following(log)
    follow.wait_to_be_told("app.log is not there; it is waited for")
    append(log, "line 1")
    follow.wait_for("line 1")


def test_while_it_waits_for_a_file_it_can_be_stopped(tmp_path: Path) -> None:
    follow = Following(tmp_path / "app.log")
    follow.wait_to_be_told("waited for")
    assert follow.stop()["row"] == 0


def test_several_rotations_at_once_miss_no_file(log: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    for number in (3, 4, 5):
        rotate(log)
        append(log, f"line {number}")
    follow.wait_for(*numbered(1, 5))


def test_a_truncated_file_is_read_from_its_start(log: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    os.truncate(log, 0)
    follow.wait_to_be_told("app.log was truncated; it is read from its start")
    append(log, "line 3", "line 4")
    follow.wait_for(*numbered(1, 4))
    assert follow.numbers == [1, 2, 3, 4]


def test_so_is_one_of_which_only_the_end_was_cut_off(log: Path) -> None:
    long = [f"line {number}, which is rather long" for number in range(1, 101)]
    log.write_text("".join(f"{line}\n" for line in long))
    follow = Following(log)
    follow.wait_for(*long)
    os.truncate(log, sum(len(line) + 1 for line in long[:60]))
    follow.wait_for(*long, *long[:60])


def test_so_is_one_that_was_overwritten_by_a_longer_one(log: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    log.write_text("another, which is longer than it was\n")
    follow.wait_for("line 1", "line 2", "another, which is longer than it was")


@pytest.mark.parametrize("moment", ["of the next file", "of a rotated one"])
def test_a_rotation_in_the_very_moment_of_an_opening_misses_nothing(
    log: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    class Surprised(Tail):
        """The file that is opened is rotated just before."""

        armed = False

        def __init__(self, path: str, *rest: Any) -> None:
            if Surprised.armed and Path(path) == log:
                Surprised.armed = False
                rotate(log)
                append(log, "line 4")
            super().__init__(path, *rest)

    monkeypatch.setattr(following, "Tail", Surprised)
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    if moment == "of the next file":
        Surprised.armed = True
        rotate(log)
        append(log, "line 3")
        follow.wait_for(*numbered(1, 4))
    else:
        position = follow.stop()
        append(log, "line 3")
        Surprised.armed = True
        again = Following(log, position)
        again.wait_for("line 3", "line 4")
        assert again.warned == []
    assert not Surprised.armed


# What happens while nobody reads.


def test_a_rotation_while_nobody_read_loses_no_row(log: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    position = follow.stop()
    append(log, "line 3")
    rotate(log)
    append(log, "line 4")
    again = Following(log, position)
    again.wait_for("line 3", "line 4")
    assert again.numbers == [3, 4]
    assert again.warned == []


def test_several_rotations_while_nobody_read_lose_no_row_either(log: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    position = follow.stop(after=1)
    for number in (3, 4, 5):
        rotate(log)
        append(log, f"line {number}")
    again = Following(log, position)
    again.wait_for(*numbered(2, 5))
    assert again.warned == []


def test_dates_in_the_names_of_rotated_files_are_as_good(log: Path, tmp_path: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    position = follow.stop()
    for day, line in (("20260131", "line 3"), ("20260201", "line 4")):
        log.rename(log.with_name(f"app.log-{day}"))
        let_the_clock_move(tmp_path)
        append(log, line)
    append(log.with_name("app.log.note"), "no rotated file")
    Following(log, position).wait_for("line 3", "line 4")


def test_a_file_that_is_nowhere_is_told_once_and_the_new_one_read(log: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    position = follow.stop()
    log.rename(log.with_name("elsewhere"))
    append(log, "line 7")
    again = Following(log, position)
    again.wait_for("line 7")
    assert again.numbers == [3]
    assert len(again.warned) == 1
    assert "may have been missed" in again.warned[0]


def test_a_file_that_was_truncated_while_nobody_read_is_read_from_its_start(log: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    position = follow.stop()
    log.write_text("line 7\nline 8\nline 9\n")
    again = Following(log, position)
    again.wait_for("line 7", "line 8", "line 9")
    assert "may have been missed" in again.warned[0]


# Formats.


def test_each_file_of_a_csv_has_a_header_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,text\n1,one\n")
    follow = Following(path, format_name="csv")
    follow.wait_for("one")
    rotate(path)
    path.write_text("lang,text,id\nen,two,2\n")
    follow.wait_for("one", "two")
    position = follow.stop()
    append(path, "fr,trois,3")
    Following(path, position, format_name="csv").wait_for("trois")


def test_a_csv_is_not_begun_before_its_header_and_first_row_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,")
    follow = Following(path, format_name="csv")
    append(path, "b\n", end="")
    append(path, '1,"hello\nthere"\n', end="")
    follow.wait_for("hello\nthere")
    assert "text column 'b' guessed (the only one with text)" in follow.told


def test_the_columns_that_were_guessed_stay(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,hello\n")
    follow = Following(path, format_name="csv")
    follow.wait_for("hello")
    rotate(path)
    path.write_text("a,b\nwords,more words\n")
    follow.wait_for("hello", "more words")
    position = follow.stop()
    assert position["text_column"] == "b"
    path.unlink()
    path.write_text("a,b\nnothing,of the old file is left\n")
    again = Following(path, position, format_name="csv")
    again.wait_for("of the old file is left")


def test_a_file_without_the_column_stops_it_by_name_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,text\n1,one\n")
    follow = Following(path, format_name="csv")
    follow.wait_for("one")
    rotate(path)
    path.write_text("id,body\n2,two\n")
    assert "rows.csv has no column 'text'" in follow.wait_for_error()
    position = follow.stop()
    path.write_text("id,text\n2,two\n")
    Following(path, position, format_name="csv").wait_for("two")


@pytest.mark.parametrize(("name", "header"), [("app.log", []), ("rows.csv", ["text"])])
def test_an_empty_file_between_two_is_passed_over(
    tmp_path: Path, name: str, header: list[str]
) -> None:
    path = tmp_path / name
    append(path, *header, "line 1")
    follow = Following(path, format_name="csv" if header else "text")
    follow.wait_for("line 1")
    rotate(path)
    path.touch()
    rotate(path)
    append(path, *header, "line 2")
    follow.wait_for("line 1", "line 2")


def test_json_lines_and_rejects_are_followed_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "one", "id": 1}\nno json\n')
    follow = Following(path, format_name="jsonl")
    follow.wait_for("one", "(invalid JSON)")
    append(path, '{"id": 2}', '{"text": "two"}')
    follow.wait_for("one", "(invalid JSON)", "(no text field)", "two")


def test_a_quoted_field_that_is_open_at_a_stop_is_read_whole_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('text\none\n"two\n')
    follow = Following(path, format_name="csv")
    follow.wait_for("one")
    position = follow.stop()
    append(path, 'lines"')
    Following(path, position, format_name="csv").wait_for("two\nlines")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "binary: it looks like a picture"),
        (b"\xff\xfea\0\n\0", "--follow reads utf-8"),
        (bytes(range(32)) * 20 + b"\n", "is binary"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(content)
    assert says in Following(path).wait_for_error()


def test_bytes_that_are_no_text_are_rejects(log: Path) -> None:
    follow = Following(log)
    follow.wait_for("line 1", "line 2")
    with log.open("ab") as file:
        file.write(b"\xff\xfe\nnul \0 nul\n\nlast\n")
    follow.wait_for(
        "line 1", "line 2", "(invalid utf-8)", "(NUL character)", "(empty text)", "last"
    )


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_in_any_order_every_line_is_read_once_and_in_order(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    log = tmp_path / "app.log"
    append(log, "line 0")
    written, entered = ["line 0"], list[str]()
    follow = Following(log)
    for _ in range(14):
        match chance.choice(["append", "append", "piecewise", "rotate", "kill", "wait"]):
            case "append":
                fresh = [f"line {len(written) + n}" for n in range(chance.randint(1, 4))]
                written += fresh
                append(log, *fresh)
            case "piecewise":
                line = f"line {len(written)}, in two pieces"
                written.append(line)
                append(log, line[:8], end="")
                if chance.random() < 0.3:
                    position = follow.stop()
                    entered += follow.items
                    follow = Following(log, position)
                append(log, line[8:])
            case "rotate":
                rotate(log, kept=20)
                line = f"line {len(written)}"
                written.append(line)
                append(log, line)
            case "kill":
                count = chance.randint(0, len(follow.items))
                position = follow.stop(after=count)
                entered += follow.items[:count]
                if chance.random() < 0.5:
                    rotate(log, kept=20)
                    line = f"line {len(written)}"
                    written.append(line)
                    append(log, line)
                follow = Following(log, position)
            case "wait":
                follow.wait_for(*written[len(entered) :])
    follow.wait_for(*written[len(entered) :])
    follow.stop()
    assert follow.warned == []
