"""The texts that a version keeps: some of its data, a line each, three in five to calibrate with."""

from pathlib import Path

from worker.probes import Probes, read_probes, write_probes


def test_at_most_500_different_rows_are_kept_and_the_same_ones_each_time(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(2000)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_probes(tmp_path / name, texts)
    probes = read_probes(tmp_path / "one")
    assert probes is not None
    assert (len(probes.calibration), len(probes.check)) == (300, 200)
    kept = {*probes.calibration, *probes.check}
    assert len(kept) == 500
    assert kept < set(texts)
    assert read_probes(tmp_path / "two") == probes


def test_a_text_stays_one_line_whatever_it_holds(tmp_path: Path) -> None:
    write_probes(tmp_path, ["a\nb\r\nc", "d\u2028e\x0bf", "g  h", "i", "j"])
    probes = read_probes(tmp_path)
    assert probes is not None
    assert sorted((*probes.calibration, *probes.check)) == ["a b c", "d e f", "g h", "i", "j"]
    assert (len(probes.calibration), len(probes.check)) == (3, 2)


def test_a_folder_without_texts_or_with_one_alone_gives_none(tmp_path: Path) -> None:
    assert read_probes(tmp_path) is None
    write_probes(tmp_path, ["alone"])
    assert read_probes(tmp_path) is None
    write_probes(tmp_path, ["one", "two"])
    probes = read_probes(tmp_path)
    assert probes in (Probes(("one",), ("two",)), Probes(("two",), ("one",)))
