"""Documents written as JSON come back bit by bit; broken ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from phonotune.data.document_files import (
    find_documents,
    read_document,
    read_properties,
    summary_of,
    write_document,
)
from phonotune.errors import InputError
from phonotune.physics.committee_spread import spread_arrays, with_spread
from phonotune.schemas.base import Source
from phonotune.schemas.phonon import PhononDocument
from tests.report.conftest import perovskite, phonon_document


def phonons_of(role: str = "untuned", scale: float = 1.0) -> PhononDocument:
    return phonon_document(Source(role=role, evaluator="emt"), perovskite(), scale, -36.0)


def test_a_document_comes_back_bit_by_bit(tmp_path: Path) -> None:
    document = phonons_of()
    write_document(document, tmp_path / "phonons.json")
    back = read_document(tmp_path / "phonons.json")
    assert summary_of(back) == summary_of(document)
    ours, theirs = document.data.arrays(), back.data.arrays()
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype
        np.testing.assert_array_equal(array, theirs[name], strict=True)


def test_arrays_in_the_file_are_plain_lists(tmp_path: Path) -> None:
    document = phonons_of()
    write_document(document, tmp_path / "phonons.json")
    entry = json.loads((tmp_path / "phonons.json").read_text())["data"]["mesh_frequencies"]
    expected = document.data.arrays()["mesh_frequencies"]
    assert entry["shape"] == list(expected.shape)
    assert entry["values"] == expected.tolist()


def test_a_summary_holds_numbers_and_no_arrays() -> None:
    summary = summary_of(phonons_of())
    assert "data" not in summary
    assert json.loads(json.dumps(summary)) == summary


@pytest.mark.parametrize("content", ["not json", "[]", "{}", '{"kind": "phonon"}', '{"kind": "x"}'])
def test_a_file_that_is_no_document_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "phonons.json").write_text(content)
    with pytest.raises(InputError, match="not a document of a property"):
        read_document(tmp_path / "phonons.json")


@pytest.mark.parametrize("wrong", ["no crystal", "infinite", "too large for its type"])
def test_values_that_cannot_be_are_refused_in_one_sentence(wrong: str, tmp_path: Path) -> None:
    write_document(phonons_of(), tmp_path / "phonons.json")
    content = json.loads((tmp_path / "phonons.json").read_text())
    if wrong == "no crystal":
        content["unitcell"]["lattice"] = {}
    elif wrong == "infinite":
        content["data"]["mesh_frequencies"]["values"][0][0] = float("inf")
    else:
        content["data"]["mesh_frequencies"] |= {"dtype": "<i4", "values": [2**40], "shape": [1]}
    (tmp_path / "phonons.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="not a document of a property") as caught:
        read_document(tmp_path / "phonons.json")
    assert "\n" not in str(caught.value)


def test_a_folder_without_results_says_how_to_make_them(tmp_path: Path) -> None:
    for read in (read_properties, find_documents):
        with pytest.raises(InputError, match="phonotune phonons"):
            read(tmp_path)


def test_results_of_two_models_in_one_folder_are_refused(tmp_path: Path) -> None:
    document = phonons_of()
    write_document(document, tmp_path / "phonons.json")
    other = document.model_copy(
        update={"source": document.source.model_copy(update={"role": "lora"})}
    )
    write_document(other, tmp_path / "elastic.json")
    with pytest.raises(InputError, match="mixes results"):
        read_properties(tmp_path)


def test_documents_are_found_in_folders_below(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_document(phonons_of(role=name), tmp_path / name / "phonons.json")
    assert [d.source.role for d in find_documents(tmp_path)] == ["a", "b"]


def test_error_bars_come_back_with_their_document(tmp_path: Path) -> None:
    document = with_spread(phonons_of(), [phonons_of(scale=0.81), phonons_of(scale=1.21)])
    write_document(document, tmp_path / "phonons.json")
    back = read_document(tmp_path / "phonons.json")
    assert back.spread.numbers == document.spread.numbers != {}
    ours, theirs = spread_arrays(document), spread_arrays(back)
    assert ours.keys() == theirs.keys()
    np.testing.assert_array_equal(ours["band_frequencies"], theirs["band_frequencies"])
