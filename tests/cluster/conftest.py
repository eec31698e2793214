"""Slurm, a MongoDB server, an emulated VASP and a site of each manager, made for this run of the tests."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import processes
import pytest
import slurm as slurm_server
from pymatgen.core import Lattice, Structure

from phonotune.flows.local import run_flow
from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.flows.profile_files import Site, write_profile
from phonotune.jobs.vasp.protocol import LabelProtocol, VaspMonitoring
from phonotune.physics.elastic import ElasticSettings
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings
from phonotune.physics.wells.double_well import WellSettings
from phonotune.sampling.settings import RattleSettings, SelectSettings
from phonotune.schemas.comparison import ComparisonDocument
from phonotune.store import ResultStore, open_store
from tests.conftest import VASP, emulated_vasp

BIN = Path(sys.executable).parent
MAKER = PhonotuneMaker(
    foundation="mini",
    labeller="vasp",
    vasp=LabelProtocol(kspacing=0.5),
    monitoring=VaspMonitoring(polling_seconds=0.1, monitor_every=10),
    strategies=["lora"],
    options={"lora": {"max_epochs": 2}},
    rattle=RattleSettings(n_cells=2, volumes=(0.0, 2.5), min_length=4.0, small=()),
    relaxation=RelaxSettings(max_steps=5),
    select=SelectSettings(budget=3, n_valid=1),
    phonon=PhononSettings(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2))),
    elastic=ElasticSettings(strains=(0.005,)),
    well=WellSettings(n_amplitudes=5),
)


@pytest.fixture(scope="session")
def maker() -> PhonotuneMaker:
    """The whole DAG in its smallest size."""
    return MAKER


@pytest.fixture(scope="session")
def crystal() -> Structure:
    """Primitive cell of fcc aluminium."""
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.02), ["Al"], [[0, 0, 0]])
    return cell.get_primitive_structure()


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """One thread, and folders of this run, for everything that is started here."""
    folder = tmp_path_factory.mktemp("cluster-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONWARNINGS", "ignore")
        patch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
        for name in ("DATA_DIR", "CACHE_DIR", "CHECKPOINT_DIR"):
            patch.setenv(f"PHONOTUNE_{name}", str(folder / name.lower()))
        yield patch


@pytest.fixture(scope="session")
def slurm(
    tmp_path_factory: pytest.TempPathFactory, environment: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Slurm with the partitions cpu and gpu; the folder of its configuration."""
    reason = slurm_server.missing()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)  # munged refuses folders of others' making
    environment.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    try:
        slurm_server.up(folder)
        yield folder
    finally:
        slurm_server.down(folder)


@pytest.fixture(scope="session")
def mongo(mongo_uri: str) -> tuple[str, int]:
    """Host and port of a MongoDB wire server."""
    parts = urlsplit(mongo_uri)
    return parts.hostname or "localhost", parts.port or 27017


@pytest.fixture
def site(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    mongo: tuple[str, int],
    slurm: Path,
    potcars: Path,
    environment: pytest.MonkeyPatch,
) -> Path:
    """Folder with the profile and the files of a manager, whose database is set up and empty."""
    host, port = mongo
    manager, database = request.param, f"phonotune_{os.getpid()}_{time.monotonic_ns()}"
    write_profile(manager, tmp_path, Site(host=host, port=port, database=database))
    environment.setenv("FW_CONFIG_FILE", str(tmp_path / "FW_config.yaml"))
    (tmp_path / "FW_config.yaml").write_text("QUEUE_UPDATE_INTERVAL: 1\nRAPIDFIRE_SLEEP_SECS: 2\n")
    environment.setenv("JFREMOTE_PROJECTS_FOLDER", str(tmp_path / "projects"))
    environment.setenv("JFREMOTE_PROJECT", "phonotune")
    # whoever imported jobflow-remote before has read the environment of then
    jobflow_remote = pytest.importorskip("jobflow_remote")
    environment.setattr(jobflow_remote.SETTINGS, "projects_folder", str(tmp_path / "projects"))
    environment.setattr(jobflow_remote.SETTINGS, "project", "phonotune")
    if manager == "fireworks":
        for file in tmp_path.glob("*/my_qadapter.yaml"):
            text, patience = file.read_text(), "--max_loops 5 --sleep 60"
            assert patience in text
            file.write_text(text.replace(patience, "--max_loops 60 --sleep 1"))
        give_vasp(tmp_path / "cpu" / "my_qadapter.yaml", potcars)
        launchpad = str(tmp_path / "my_launchpad.yaml")
        processes.run("lpad", "-l", launchpad, "reset", "--password", time.strftime("%Y-%m-%d"))
    else:
        give_vasp(tmp_path / "projects" / "phonotune.yaml", potcars)
        quicken(tmp_path / "projects" / "phonotune.yaml")
        processes.run("jf", "admin", "reset", "-y")
    return tmp_path


@pytest.fixture(scope="session")
def quiet(
    crystal: Structure,
    potcars: Path,
    tmp_path_factory: pytest.TempPathFactory,
    environment: pytest.MonkeyPatch,
) -> ComparisonDocument:
    """Return the comparison that the flow gives when it runs in this process."""
    folder = tmp_path_factory.mktemp("quiet")
    store = open_store(folder / "store")
    with emulated_vasp(potcars):
        assert run_flow(MAKER.make(crystal), store, root_dir=folder).failed == []
    (comparison,) = ResultStore(store).query(kind="comparison")
    assert isinstance(comparison, ComparisonDocument)
    return comparison


def give_vasp(file: Path, potcars: Path) -> None:
    """Name VASP and its POTCARs where the file of the site has a place for them: on the DFT worker only."""
    text = file.read_text()
    if file.name == "my_qadapter.yaml":
        place = '# export ATOMATE2_VASP_CMD="srun vasp_std"'
        given = f'export ATOMATE2_VASP_CMD="{VASP}"\n  export PMG_VASP_PSP_DIR={potcars}'
    else:
        place = """export: {ATOMATE2_VASP_CMD: '"srun vasp_std"'}"""
        given = f"""export: {{ATOMATE2_VASP_CMD: '"{VASP}"', PMG_VASP_PSP_DIR: {potcars}}}"""
    assert place in text
    file.write_text(text.replace(place, given))


def quicken(project: Path) -> None:
    """Give the runner short delays, and let one process of each queue run many short jobs."""
    delays = ("checkout", "check_run_status", "advance_status", "update_batch")
    lines = ["runner:", *(f"  delay_{name}: 1" for name in delays)]
    text = project.read_text() + "\n".join(lines) + "\n"
    folder = project.parent.parent
    for worker in ("light", "cpu", "gpu"):
        batch = (
            f"batch: {{jobs_handle_dir: {folder}/batch/{worker}, work_dir: {folder}/batch-jobs/"
            f"{worker}, max_wait: 20, sleep_time: 0.5}}"
        )
        place = f"    work_dir: {folder}/jobs/{worker}\n"
        assert place in text
        text = text.replace(place, f"{place}    {batch}\n    max_jobs: 1\n")
    project.write_text(text.replace("    max_jobs: 2\n", ""))
