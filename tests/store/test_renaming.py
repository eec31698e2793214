"""A result gets another id in any store, and its arrays get the same owner."""

from __future__ import annotations

import numpy as np
from jobflow import JobStore

from phonotune.store import BLOB_STORE, ResultStore, remove_outputs, rename_result


def check_renaming(store: JobStore, uuid: str) -> None:
    """Give the training with this id another one; nothing but the id changes, also of its arrays."""
    arrays = store.additional_stores[BLOB_STORE]
    before = store.docs_store.count(), arrays.count()
    (row,) = store.docs_store.query({"uuid": uuid})
    rename_result(store, row, "another-id", "v2-content")
    assert (store.docs_store.count(), arrays.count()) == before
    assert store.docs_store.query_one({"uuid": uuid}) is None
    (training,) = ResultStore(store).query(kind="training")
    np.testing.assert_array_equal(training.history.arrays()["epoch"], [0, 1])
    remove_outputs(store, [uuid])
    assert arrays.count() == before[1]
    remove_outputs(store, ["another-id"])
    assert arrays.count() == before[1] - 3  # adapter, history, parity


def test_a_result_and_its_arrays_get_another_id(store: JobStore, project: dict[str, str]) -> None:
    check_renaming(store, project["finetune"])
