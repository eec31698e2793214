"""What `profile init` writes is what both managers accept."""

import re
import stat

import pytest
import yaml
from fireworks import FWorker, LaunchPad
from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter
from jobflow_remote.config.base import Project

from phonotune.errors import ConfigError, InputError
from phonotune.flows.profile_files import Site, write_profile
from phonotune.flows.queues import jobflow_store
from phonotune.flows.routing import ROLES, Profile, read_profile
from phonotune.settings import PhonotuneSettings

SITE = Site(host="db.example.org", port=27018, cpu="standard", gpu="accelerated", ntasks=64)


def test_every_role_reaches_a_fireworks_worker_of_its_category(tmp_path):
    write_profile("fireworks", tmp_path, SITE)
    profile = read_profile(tmp_path / "profile.yaml")
    taken = {}
    for file in tmp_path.glob("*/my_fworker.yaml"):
        worker = FWorker.from_file(str(file))
        taken |= dict.fromkeys(worker.category, worker.name)
    for role in ROLES:
        route = profile.route_of(role)
        assert taken[route.manager_config()["_category"]] == route.worker


def test_fireworks_reads_its_launchpad_and_the_scripts_of_its_queues(tmp_path):
    write_profile("fireworks", tmp_path, SITE)
    launchpad = LaunchPad.from_file(str(tmp_path / "gpu" / "my_launchpad.yaml"))
    launchpad.connection.close()
    assert (launchpad.host, launchpad.port, launchpad.name) == (
        "db.example.org",
        27018,
        "phonotune",
    )
    scripts = {}
    for worker in ("light", "cpu", "gpu"):
        adapter = CommonAdapter.from_file(str(tmp_path / worker / "my_qadapter.yaml"))
        scripts[worker] = adapter.get_script_str("/launch")
    assert "#SBATCH --partition=accelerated" in scripts["gpu"]
    assert "#SBATCH --gres=gpu:1" in scripts["gpu"]
    assert "#SBATCH --partition=standard" in scripts["cpu"]
    assert "#SBATCH --ntasks=64" in scripts["cpu"]
    assert "gres" not in scripts["cpu"]
    for worker, script in scripts.items():
        assert f"rlaunch -c {tmp_path / worker} rapidfire" in script
        assert f"export JOBFLOW_CONFIG_FILE={tmp_path}/jobflow.yaml" in script


@pytest.mark.parametrize("worker", ["light", "cpu", "gpu"])
def test_a_process_of_a_fireworks_worker_takes_no_job_shortly_before_its_walltime(tmp_path, worker):
    write_profile("fireworks", tmp_path, SITE)
    adapter = CommonAdapter.from_file(str(tmp_path / worker / "my_qadapter.yaml"))
    (command,) = re.findall(r"^rlaunch .*$", adapter.get_script_str("/launch"), re.MULTILINE)
    (timeout,) = re.findall(r" rapidfire --timeout (\d+) --max_loops 5 --sleep 60$", command)
    hours, minutes, seconds = map(int, adapter["walltime"].split(":"))
    walltime = 3600 * hours + 60 * minutes + seconds
    margin = PhonotuneSettings.model_fields["walltime_margin"].default
    assert 2 * margin <= walltime - int(timeout) < walltime / 2


def test_the_store_of_fireworks_workers_has_a_place_for_arrays(tmp_path):
    write_profile("fireworks", tmp_path, SITE)
    store = jobflow_store(tmp_path / "jobflow.yaml")
    assert "data" in store.additional_stores
    assert store.docs_store.host == "db.example.org"


def test_jobflow_remote_accepts_the_project_and_its_workers(tmp_path):
    write_profile("jobflow-remote", tmp_path, SITE)
    text = (tmp_path / "projects" / "phonotune.yaml").read_text()
    project = Project.model_validate(yaml.safe_load(text))
    profile = read_profile(tmp_path / "profile.yaml")
    assert profile.project == project.name
    for role in ROLES:
        config = profile.route_of(role).manager_config()
        worker = project.workers[config["worker"]]
        script = worker.get_scheduler_io().get_submission_script("true", worker.resources or {})
        assert isinstance(script, str)
        assert config.get("exec_config") in {None, *project.exec_config}
    gpu = project.workers["gpu"]
    script = gpu.get_scheduler_io().get_submission_script("true", gpu.resources)
    assert "#SBATCH --partition=accelerated" in script
    assert "#SBATCH --gres=gpu:1" in script


def test_both_managers_fit_into_one_folder_and_share_the_profile(tmp_path):
    write_profile("fireworks", tmp_path)
    (tmp_path / "profile.yaml").write_text("roles: {dft: {worker: mine}}\n")
    written = write_profile("jobflow-remote", tmp_path)
    assert [path.name for path in written] == ["phonotune.yaml"]
    assert read_profile(tmp_path / "profile.yaml").route_of("dft").worker == "mine"


def test_nothing_that_exists_is_overwritten(tmp_path):
    write_profile("fireworks", tmp_path)
    (tmp_path / "gpu" / "my_qadapter.yaml").write_text("mine")
    with pytest.raises(InputError, match="would be overwritten"):
        write_profile("fireworks", tmp_path)
    assert (tmp_path / "gpu" / "my_qadapter.yaml").read_text() == "mine"


def test_only_the_owner_may_read_files_that_will_hold_credentials(tmp_path):
    for manager in ("fireworks", "jobflow-remote"):
        for path in write_profile(manager, tmp_path / manager):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_example_says_what_the_default_profile_is(tmp_path):
    write_profile("fireworks", tmp_path)
    assert read_profile(tmp_path / "profile.yaml").workers() == Profile().workers()


def test_a_folder_that_breaks_a_script_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot stand in job scripts"):
        write_profile("fireworks", tmp_path / "my site")
    assert not (tmp_path / "my site").exists()


def test_an_unknown_manager_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'jobflow-remote'"):
        write_profile("jobflow_remote", tmp_path)
