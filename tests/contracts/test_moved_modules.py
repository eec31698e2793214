"""Jobs stored by an earlier version name modules that have moved; they decode all the same."""

from importlib import import_module

import pytest

MOVED = {
    "phonotune.jobs.inputs": ("LabelInputGenerator",),
    "phonotune.jobs.protocol": ("Custody", "LabelProtocol"),
    "phonotune.jobs.custody": ("ElectronicConvergence", "FatalMessage", "FrozenRun"),
    "phonotune.jobs.foreign": ("TaskFramesMaker", "TaskSettings", "frames_from_tasks"),
    "phonotune.models.relax": ("RelaxSettings",),
    "phonotune.physics.phonon.displacements": ("PhononSettings",),
    "phonotune.sampling.rattle": ("RattleSettings",),
    "phonotune.sampling.select": ("SelectSettings",),
}


@pytest.mark.parametrize("module", MOVED)
def test_what_a_stored_job_names_is_where_it_was(module):
    for name in MOVED[module]:
        assert getattr(import_module(module), name).__module__ != module
