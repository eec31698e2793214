"""Fixtures that every room may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pymatgen.core import Lattice, Structure

from phonotune.settings import get_settings

if TYPE_CHECKING:
    from phonotune.models.architecture import ArchitectureCard


@pytest.fixture(autouse=True)
def _own_folders(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Keep every test away from the user's store, cache, checkpoints and folder."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("DATA_DIR", "CACHE_DIR", "CHECKPOINT_DIR"):
        monkeypatch.setenv(f"PHONOTUNE_{name}", str(folder / name.lower()))
    monkeypatch.chdir(folder)
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


@pytest.fixture(scope="session")
def tiny_card() -> ArchitectureCard:
    """Architecture of a very small MACE for O, Na, Cl and Ba."""
    from phonotune.models.architecture import ArchitectureCard

    residual = "RealAgnosticResidualInteractionBlock"
    return ArchitectureCard(
        name="tiny",
        trained_on="nothing: random parameters for tests",
        elements=(8, 11, 17, 56),
        r_max=4.0,
        num_radial=4,
        cutoff_p=5,
        l_max=2,
        hidden_irreps="8x0e+8x1o",
        readout_irreps="8x0e",
        radial_mlp=(8, 8),
        correlation=2,
        num_interactions=2,
        interaction=residual,
        first_interaction=residual,
        avg_num_neighbors=12.0,
        atomic_energies=(-2.0, -1.0, -4.0, -3.0),
        scale=0.3,
        shift=0.1,
    )
