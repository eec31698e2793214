"""Fixtures for all tests."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import shutil
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import mongo
import pytest
import typer.testing
from mongo import MongoServer
from potcars import write_potcars
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.groups import SpaceGroup

from phonotune.settings import get_settings

if TYPE_CHECKING:
    from phonotune.models.shipped import ArchitectureCard

TESTS = Path(__file__).parent
VASP = f"{sys.executable} {TESTS / 'emulators' / 'vasp.py'}"
"""Command of a stand-in for VASP with the energies of EMT."""
_new_space_group = SpaceGroup.__new__
_space_groups: dict[int, SpaceGroup] = {}


def _keep_space_group(cls: type[SpaceGroup], *args: Any, **kwargs: Any) -> SpaceGroup:
    """Keep every space group: pymatgen forgets those that are not in use, and making Fm-3m takes a second."""
    made: SpaceGroup = _new_space_group(cls, *args, **kwargs)
    return _space_groups.setdefault(id(made), made)


SpaceGroup.__new__ = _keep_space_group
_read_source = functools.cache(inspect.getsourcelines)
# TorchScript reads the same source anew for each model that is made: a quarter of that time
inspect.getsourcelines = lambda of: _read_source(getattr(of, "__func__", of))
typer.testing._get_command = functools.cache(
    typer.testing._get_command
)  # 0.2 s for each command run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that take longest, so that the processes end together."""
    seconds = tomllib.loads((TESTS / "seconds.toml").read_text())
    items.sort(key=lambda item: -seconds.get(item.path.relative_to(TESTS).as_posix(), 0))


@pytest.fixture(scope="session")
def kept_probes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the probes that trainings label with their foundations, one for all processes of the run."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "probes"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def _own_folders(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    kept_probes: Path,
) -> Iterator[None]:
    """Keep every test away from the user's store, cache, checkpoints and folder."""
    folder = tmp_path_factory.mktemp("home")
    if not request.node.get_closest_marker("own_probes"):
        (folder / "cache_dir").mkdir()
        (folder / "cache_dir" / "probes").symlink_to(kept_probes)
    for name in ("DATA_DIR", "CACHE_DIR", "CHECKPOINT_DIR"):
        monkeypatch.setenv(f"PHONOTUNE_{name}", str(folder / name.lower()))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PHONOTUNE_STORE", raising=False)
    monkeypatch.delenv("JOBFLOW_CONFIG_FILE", raising=False)
    get_settings.cache_clear()
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("phonotune"):  # jobflow-remote's set-up of logging disables all others
            logger.disabled = False
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """Folder of real VASP data beside the checkout; the test is skipped where it is absent."""
    folder = TESTS.parents[1] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real VASP data is not beside the checkout")
    return folder


@pytest.fixture(scope="session")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of another environment, which has numpy, ase and ``stub_potentials`` but not phonotune."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    shutil.copy(TESTS / "stub_potentials.py", packages)
    metadata = packages / "stub_potentials-1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: stub_potentials\nVersion: 1.0\n")
    # a checkout may be on PYTHONPATH
    (packages / "sitecustomize.py").write_text(
        "import os, sys\n"
        "sys.path = [p for p in sys.path if not os.path.isdir(os.path.join(p, 'phonotune'))]\n"
    )
    return folder / "bin" / "python"


@pytest.fixture
def aluminium() -> Structure:
    """Conventional cell of fcc aluminium, which EMT holds stable."""
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.995), ["Al"], [[0, 0, 0]])


@pytest.fixture(scope="session")
def tiny_card() -> ArchitectureCard:
    """Architecture of a very small MACE for O, Na, Cl and Ba."""
    from phonotune.models.shipped import ArchitectureCard

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


@pytest.fixture(scope="session")
def potcars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of POTCAR headers, as PMG_VASP_PSP_DIR names it."""
    folder = tmp_path_factory.mktemp("potcars")
    write_potcars(folder)
    return folder


@contextlib.contextmanager
def emulated_vasp(potcars: Path) -> Iterator[None]:
    """Let atomate2 start the emulator of VASP, and pymatgen find POTCARs."""
    from atomate2 import SETTINGS as ATOMATE2
    from atomate2.vasp.run import run_vasp
    from pymatgen.core import SETTINGS as PYMATGEN

    run = functools.partial(run_vasp, vasp_cmd=VASP, vasp_gamma_cmd=VASP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atomate2.vasp.jobs.base.run_vasp", run)
        patch.setattr(ATOMATE2, "VASP_CMD", VASP)
        patch.setitem(PYMATGEN, "PMG_VASP_PSP_DIR", str(potcars))
        yield


@pytest.fixture(scope="module")
def vasp(potcars: Path) -> Iterator[None]:
    """Give every test of the module an emulated VASP."""
    with emulated_vasp(potcars):
        yield


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., MongoServer]]:
    """Start MongoDB servers, ``mongo_server(durable=True)``; the test is skipped without a program."""
    program = mongo.find_program()
    if program is None:
        pytest.skip(mongo.NONE_HERE)
    started = []

    def start(**options: bool) -> MongoServer:
        server = mongo.MongoServer(tmp_path_factory.mktemp("mongo"), program, **options)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def mongo_uri(request: pytest.FixtureRequest) -> str:
    """Address of a MongoDB server: the one given, else one started for the session."""
    return mongo.given_uri() or str(request.getfixturevalue("mongo_server")().uri)


@pytest.fixture
def mongo_yaml(mongo_uri: str, tmp_path: Path) -> Iterator[Path]:
    """Store file of a database of its own on the server, dropped afterwards."""
    from pymongo import MongoClient

    database = f"phonotune_test_{uuid4().hex[:12]}"
    part = "{{type: {}, uri: '{}', database: {}, collection_name: {}}}"
    path = tmp_path / "store.yaml"
    path.write_text(
        f"docs_store: {part.format('MongoStore', mongo_uri, database, 'outputs')}\n"
        f"additional_stores: {{data: {part.format('GridFSStore', mongo_uri, database, 'blobs')}}}\n"
    )
    yield path
    with MongoClient(mongo_uri) as client:
        client.drop_database(database)
