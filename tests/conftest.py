"""What several test modules share: one tiny seed model and one finished run of it, made once a session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import toy_world

settings.register_profile("evolvent", deadline=None)  # on a busy machine time says nothing of the code
settings.load_profile("evolvent")


@pytest.fixture(scope="session")
def toy_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny model and its gold data."""
    return toy_world.make_seed(tmp_path_factory.mktemp("toy") / "seed")


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory, toy_seed: Path) -> Path:
    """Folder of a run that nobody disturbed. Read it, or copy it; do not go on with it."""
    folder = tmp_path_factory.mktemp("toy_run") / "run"
    toy_world.new_run(folder, toy_seed).go(turns=toy_world.TURNS, secret_hex=toy_world.SECRET)
    return folder


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: what a kill leaves is the same there, and a sync costs nothing."""
    shared = Path("/dev/shm")
    folder = shared / f"evolvent-{os.getpid()}" if os.access(shared, os.W_OK) else tmp_path_factory.mktemp("memory")
    folder.mkdir(exist_ok=True)
    yield folder
    shutil.rmtree(folder)
