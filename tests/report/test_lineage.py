from __future__ import annotations

import json

from phonotune.report.lineage import lineage_rows, versions_of


def test_every_step_stands_there_with_its_hash(soft) -> None:
    rows = lineage_rows(soft)
    stages = [row.stage for row in rows]
    assert stages == [
        "Labels",
        "Dataset",
        "Training",
        *["Phonons"] * 3,
        *["Elastic"] * 3,
        *["Double well"] * 3,
    ]
    facts = {row.stage: dict(row.facts) for row in rows[:3]}
    training = soft.trainings[0]
    assert facts["Labels"]["protocol"] == soft.labels.protocol
    assert facts["Labels"]["frames"] == "6 of 7"
    assert facts["Dataset"]["dataset hash"] == training.model.dataset_hash
    assert facts["Training"]["model id"] == training.model.model_id
    assert facts["Training"]["foundation sha256"] == training.model.foundation.sha256
    assert facts["Training"]["adapter sha256"] == training.model.adapters[0][0].sha256


def test_settings_are_printed_as_they_were_resolved(soft) -> None:
    row = next(r for r in lineage_rows(soft) if r.stage == "Phonons")
    assert json.loads(row.settings_text) == soft.phonons[0].settings


def test_every_version_that_took_part_is_listed(soft) -> None:
    other = soft.phonons[0].model_copy(update={"versions": {"phonopy": "0.0"}})
    mixed = type(soft)(formula="BaTiO3", phonons=(other, *soft.phonons[1:]))
    assert "0.0" in versions_of(mixed)["phonopy"]
    assert len(versions_of(mixed)["phonopy"]) == 2
