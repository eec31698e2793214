"""Roles reach workers in both managers, for jobs that are made while a flow runs, too."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from fireworks import Workflow
from jobflow import Flow, JobStore, Maker, Response, job
from jobflow.managers.fireworks import flow_to_workflow
from jobflow_remote.jobs.data import get_initial_job_doc_dict
from maggma.stores import MemoryStore
from monty.serialization import MontyDecoder, MontyEncoder

from phonotune.errors import ConfigError
from phonotune.flows.identity import stable_flow
from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.flows.routing import ROLES, Profile, Route, label_jobs, read_profile, route
from phonotune.jobs.base import replace_by, tag

PROFILE = Profile(
    roles={
        "light": Route(worker="login"),
        "dft": Route(worker="cpu", exec_config="vasp", resources={"partition": "cpu"}),
        "gpu_eval": Route(
            worker="gpu", category="accelerator", queueadapter={"walltime": "1:00:00"}
        ),
        "gpu_train": Route(worker="gpu", priority=5),
        "cpu_heavy": Route(worker="cpu"),
    }
)


@job
def evaluate(value):
    return value


@job
def gather(value):
    return value


@dataclass
class LightGenerator(Maker):
    """Plans on a light worker and replaces itself by a job for a GPU and one that gathers."""

    name: str = "generator"
    deep: bool = False

    def make(self, value):
        return tag(plan(self, value), "light", self.name)


@job
def plan(maker, value):
    if maker.deep:
        inner = LightGenerator().make(value)
        return replace_by([inner], tag(gather(inner.output), "light", "gather"))
    heavy = tag(evaluate(value), "gpu_eval", "evaluate")
    return replace_by([heavy], tag(gather(heavy.output), "light", "gather"))


@job
def foreign(value):
    """Stand for a static maker of another package that goes on in a job of its own."""
    return Response(detour=Flow([evaluate(value)]))


def store():
    made = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    made.connect()
    return made


def fireworks_of(workflow):
    return {fw.name: fw for fw in workflow.fws}


def run_in_fireworks(firework, job_store):
    """Run a firework as a rocket does, from its stored form; return the workflows it makes."""
    (task,) = type(firework).from_dict(firework.to_dict()).tasks
    task["store"] = job_store
    detours = task.run_task({}).detours
    return [Workflow.from_dict(detour.to_dict()) for detour in detours]


def run_in_jobflow_remote(made, job_store):
    """Run a job as a worker does, from its stored form; return the documents of the jobs it makes."""
    document = get_initial_job_doc_dict(made, [], "1", "fallback", None, None, 0)
    text = MontyEncoder().encode(document["job"])
    again = MontyDecoder().decode(text)
    response = again.run(job_store)
    children = response.replace or response.detour
    return {
        child.name: get_initial_job_doc_dict(child, [], "2", document["worker"], None, None, 0)
        for child, _ in children.iterflow()
    }


def test_a_gpu_job_of_a_light_generator_goes_to_the_gpu_in_fireworks():
    workflow = flow_to_workflow(route(LightGenerator().make(1), PROFILE))
    (generator,) = workflow.fws
    assert generator.spec["_category"] == "login"
    (made,) = run_in_fireworks(generator, store())
    children = fireworks_of(made)
    assert children["evaluate"].spec["_category"] == "accelerator"
    assert children["evaluate"].spec["_queueadapter"] == {"walltime": "1:00:00"}
    assert children["gather"].spec["_category"] == "login"


def test_a_gpu_job_of_a_light_generator_goes_to_the_gpu_in_jobflow_remote():
    flow = route(LightGenerator().make(1), PROFILE)
    ((generator, _),) = flow.iterflow()
    children = run_in_jobflow_remote(generator, store())
    assert children["evaluate"]["worker"] == "gpu"
    assert children["gather"]["worker"] == "login"


def test_a_generator_within_a_generator_routes_its_children_too():
    flow = route(LightGenerator(deep=True).make(1), PROFILE)
    ((generator, _),) = flow.iterflow()
    outer = generator.run(store())
    inner = next(made for made, _ in outer.replace.iterflow() if made.name == "plan")
    children = run_in_jobflow_remote(inner, store())
    assert children["evaluate"]["worker"] == "gpu"
    assert children["gather"]["worker"] == "login"


def test_children_keep_their_own_role_and_stage():
    ((generator, _),) = route(LightGenerator().make(1), PROFILE).iterflow()
    children = {made.name: made for made, _ in generator.run(store()).replace.iterflow()}
    assert children["evaluate"].metadata["phonotune"] == {"role": "gpu_eval", "stage": "evaluate"}


def test_what_a_dft_job_of_another_package_makes_is_dft():
    flow = route(Flow([tag(foreign(1), "dft", "label")]), PROFILE)
    ((static, _),) = flow.iterflow()
    children = run_in_jobflow_remote(static, store())
    assert children["evaluate"]["worker"] == "cpu"
    assert children["evaluate"]["exec_config"] == "vasp"


def test_a_job_without_a_role_goes_where_the_profile_says():
    profile = PROFILE.model_copy(update={"untagged": "light"})
    ((made, _),) = route(Flow([evaluate(1)]), profile).iterflow()
    assert made.config.manager_config["worker"] == "login"


def test_every_job_of_the_pipeline_has_one_config_that_both_managers_read(aluminium):
    flow = route(PhonotuneMaker(foundation="mini", labeller="emt").make(aluminium), PROFILE)
    workflow = fireworks_of(flow_to_workflow(flow))
    for made, _ in flow.iterflow():
        role = made.metadata["phonotune"]["role"]
        wanted = PROFILE.route_of(role)
        assert workflow[made.name].spec["_category"] == (wanted.category or wanted.worker)
        document = get_initial_job_doc_dict(made, [], "1", "fallback", None, None, 0)
        assert document["worker"] == wanted.worker
        assert document["resources"] == wanted.resources
        assert made.config.pass_manager_config is False


def test_makers_come_back_equal_from_the_database_of_fireworks(aluminium):
    made = PhonotuneMaker(foundation="mini", labeller="emt").make(aluminium)
    workflow = Workflow.from_dict(flow_to_workflow(route(made, PROFILE)).to_dict())
    again = Workflow.from_dict(workflow.to_dict())  # FireWorks writes a job anew at each change
    makers = {fw.name: fw.tasks[0]["job"].maker for fw in again.fws}
    own = [j for j, _ in made.iterflow() if type(j.maker).__module__.startswith("phonotune")]
    assert len(own) > 10
    for before in own:
        assert makers[before.name] == before.maker, before.name


def test_what_a_flow_is_about_reaches_the_jobs_made_at_run_time():
    flow = Flow([LightGenerator().make(1)])
    label_jobs(flow, {"formula": "Al", "campaign": "metals"})
    ((generator, _),) = route(flow, PROFILE).iterflow()
    for child, _ in generator.run(store()).replace.iterflow():
        assert child.metadata["phonotune"]["formula"] == "Al"
        assert child.metadata["phonotune"]["campaign"] == "metals"


def test_routing_twice_leaves_the_last_profile():
    flow = route(route(LightGenerator().make(1), Profile()), PROFILE)
    ((generator, _),) = flow.iterflow()
    children = run_in_jobflow_remote(generator, store())
    assert children["evaluate"]["worker"] == "gpu"
    assert children["gather"]["worker"] == "login"


def test_a_routed_flow_survives_the_way_through_json():
    ((made, _),) = stable_flow(route(LightGenerator().make(1), PROFILE)).iterflow()
    children = run_in_jobflow_remote(made, store())
    assert children["evaluate"]["worker"] == "gpu"


def test_the_default_profile_has_three_workers_for_five_roles():
    workers = Profile().workers()
    assert list(workers) == ["light", "cpu", "gpu"]
    assert sorted(role for roles in workers.values() for role in roles) == sorted(ROLES)


def test_file_names_in_a_profile_count_from_its_folder(tmp_path):
    file = tmp_path / "site" / "profile.yaml"
    file.parent.mkdir()
    file.write_text("launchpad: my_launchpad.yaml\nroles: {dft: {worker: big}}\n")
    profile = read_profile(file)
    assert profile.launchpad == file.parent / "my_launchpad.yaml"
    assert profile.route_of("dft").worker == "big"
    assert profile.route_of("light").worker == "light"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rolse: {}", "Did you mean 'roles'"),
        ("roles: {gpu_trian: {worker: a}}", "Did you mean 'gpu_train'"),
        ("roles: {dft: {wroker: a}}", "Did you mean 'worker'"),
        ("roles: {dft: {resources: {}}}", "roles.dft.worker"),
        ("untagged: gpu", "untagged"),
        ("- a list", "a mapping is needed"),
        ("roles: [", "is not YAML"),
    ],
)
def test_a_wrong_profile_is_one_sentence(tmp_path: Path, text, message):
    file = tmp_path / "profile.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_profile(file)


def test_a_missing_profile_names_the_command_that_writes_one(tmp_path):
    with pytest.raises(ConfigError, match="phonotune profile init"):
        read_profile(tmp_path / "none.yaml")
