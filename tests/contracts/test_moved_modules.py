"""Jobs stored by an earlier version name modules that have moved; they decode all the same."""

import json
from importlib import import_module

import pytest
from monty.json import MontyDecoder, MontyEncoder

from phonotune.jobs.label import LabelMaker
from phonotune.jobs.vasp.protocol import VaspMonitoring

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


def test_a_label_maker_with_the_early_word_for_monitoring_decodes():
    """A stored Maker says ``custody``, of the class Custody in phonotune.jobs.protocol."""
    maker = LabelMaker(labeller="emt", monitoring=VaspMonitoring(frozen_seconds=60.0))
    text = json.dumps(maker, cls=MontyEncoder)
    for new, old in {
        "monitoring": "custody",
        "VaspMonitoring": "Custody",
        "phonotune.jobs.vasp.protocol": "phonotune.jobs.protocol",
    }.items():
        assert new in text
        text = text.replace(f'"{new}"', f'"{old}"')
    assert json.loads(text, cls=MontyDecoder) == maker
