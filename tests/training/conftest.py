"""Two versions fitted once for all tests that look at what one is worth."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from db.registry.artifacts import artifact_store
from db.registry.names import parse_ref
from db.registry.versions import resolve
from db.store import open_store
from tests.tiny_models import tiny_base
from tests.training.moods import QUICK, Texts, mood_rows, said, settings_of, write_splits
from worker.merge import merge_version


@dataclass(frozen=True)
class Moods:
    """A base, data to fit on it, and a home with two versions of `mood`; never to be changed."""

    base: Path
    #: 300 rows for training, 90 for validation, 216 for test; one in eight is mislabelled.
    data: Path
    #: `mood:1` is fitted on it and in production; `mood:2`, on 15 of the rows, tried to get there.
    home: Path
    #: What `training fit` said of each.
    first: Mapping[str, Any]
    second: Mapping[str, Any]

    def copied(self, folder: Path) -> Path:
        """Return a home of one's own in the new folder `folder`."""
        shutil.copytree(self.home, folder)
        return folder


@pytest.fixture(scope="session")
def moods(tmp_path_factory: pytest.TempPathFactory) -> Moods:
    """Fit both versions by `training fit`, and merge them."""
    folder = tmp_path_factory.mktemp("moods")
    home, texts = folder / "home", Texts()
    base = tiny_base(folder / "base", "distilbert", spread=0.1)
    train, val, test = (mood_rows(texts, count) for count in (300, 90, 216))
    data = write_splits(folder / "data", train=train, val=val, test=test)
    twentieth = write_splits(folder / "twentieth", train=train[:15], val=val, test=test)
    options = ("--model", "mood", "--base", base, *QUICK, "--license", "ours", "--json")
    first = said(home, "fit", "--data", data, *options)
    merge(home, "mood:1")
    second = said(home, "fit", "--data", twentieth, *options, "--promote-if-better")
    merge(home, "mood:2")
    return Moods(base, data, home, json.loads(first), json.loads(second))


def merge(home: Path, version: str) -> None:
    """Merge a version here, rather than in a child that would import all it needs anew."""
    settings = settings_of(home)
    store = open_store(settings)
    merge_version(store, artifact_store(settings), resolve(store, parse_ref(version)))
    store.close()
