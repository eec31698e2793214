"""Fixtures that every room may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from phonotune.settings import get_settings


@pytest.fixture(autouse=True)
def _own_folders(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Keep every test away from the user's store, cache and checkpoints."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("DATA_DIR", "CACHE_DIR", "CHECKPOINT_DIR"):
        monkeypatch.setenv(f"PHONOTUNE_{name}", str(folder / name.lower()))
    monkeypatch.delenv("PHONOTUNE_STORE", raising=False)
    monkeypatch.delenv("JOBFLOW_CONFIG_FILE", raising=False)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """Folder of real VASP data beside the checkout; the test skips where it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real VASP data is not beside the checkout")
    return folder


@pytest.fixture
def aluminium() -> Structure:
    """Conventional cell of fcc aluminium, which EMT holds stable."""
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.995), ["Al"], [[0, 0, 0]])
