from __future__ import annotations

import json
from dataclasses import replace

from phonotune.report.lineage import lineage_rows, versions_of
from phonotune.schemas.statistics import SplitRecord


def test_every_step_stands_there_with_its_hash(soft) -> None:
    rows = lineage_rows(soft)
    stages = [row.stage for row in rows]
    assert stages == [
        "Labels",
        "Dataset",
        "Training",
        *["Phonons"] * 3,
        *["Double well"] * 3,
        *["Elastic constants"] * 3,
    ]
    facts = {row.stage: dict(row.facts) for row in rows[:3]}
    training = soft.trainings[0]
    assert facts["Labels"]["protocol"] == soft.labels.protocol
    assert facts["Labels"]["frames"] == "6 of 7"
    assert facts["Dataset"]["dataset hash"] == training.model.dataset_hash
    assert facts["Training"]["model id"] == training.model.model_id
    assert facts["Training"]["foundation sha256"] == training.model.foundation.sha256
    assert facts["Training"]["adapter sha256"] == training.model.adapters[0][0].sha256


def test_a_dataset_says_its_version_and_why_it_was_split_so(soft) -> None:
    split = SplitRecord(how="drawn", reason="drawn, seed 3", train_groups=2, valid_groups=1)
    lineage = {"version": 2, "parent_hash": "12e5", "split": split}
    appended = soft.datasets[0].model_copy(update=lineage)
    rows = lineage_rows(replace(soft, datasets=(*soft.datasets, appended)))
    first, second = (dict(row.facts) for row in rows if row.stage == "Dataset")
    assert (first["version"], first["split"]) == ("1", "not recorded")
    assert (second["version"], second["split"]) == ("2, appended to 12e5", "drawn, seed 3")


def test_settings_are_printed_as_they_were_resolved(soft) -> None:
    row = next(r for r in lineage_rows(soft) if r.stage == "Phonons")
    assert json.loads(row.settings_text) == soft.phonons[0].settings


def test_every_version_that_took_part_is_listed(soft) -> None:
    other = soft.phonons[0].model_copy(update={"versions": {"phonopy": "0.0"}})
    mixed = type(soft)(formula="BaTiO3", properties=(other, *soft.phonons[1:]))
    assert "0.0" in versions_of(mixed)["phonopy"]
    assert len(versions_of(mixed)["phonopy"]) == 2
