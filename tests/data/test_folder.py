import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from phonotune.data.assemble import assemble
from phonotune.data.folder import read_dataset, write_dataset
from phonotune.data.versions import append
from phonotune.errors import FramesError
from phonotune.schemas.dataset import DatasetDocument, Frame

MakeFrame = Callable[..., Frame]


@pytest.fixture
def dataset(make_frame: MakeFrame) -> DatasetDocument:
    frames = [
        make_frame(group=f"g{i // 2}", labeller="vasp", protocol="12e5", magmoms=np.arange(8) / 3)
        for i in range(6)
    ]
    return assemble(frames, labeller="vasp", valid_groups=["g1"])


def test_a_dataset_comes_back_from_its_folder_with_nothing_lost(
    tmp_path: Path, dataset: DatasetDocument
) -> None:
    write_dataset(dataset, tmp_path)
    again = read_dataset(tmp_path)
    assert again.model_dump(exclude={"data", "more"}) == dataset.model_dump(
        exclude={"data", "more"}
    )
    for one, other in zip(dataset.frames(), again.frames(), strict=True):
        assert one.energy == other.energy
        for label in ("forces", "stress", "magmoms"):
            assert np.array_equal(getattr(one, label), getattr(other, label))
        for text in ("group", "origin", "labeller", "protocol"):
            assert getattr(one, text) == getattr(other, text)
        assert one.structure.lattice == other.structure.lattice
        assert other.structure.lattice.pbc == (True, True, True)
        np.testing.assert_allclose(
            one.structure.cart_coords, other.structure.cart_coords, rtol=0, atol=1e-13
        )


def test_the_manifest_has_a_row_a_frame(tmp_path: Path, dataset: DatasetDocument) -> None:
    write_dataset(dataset, tmp_path)
    rows = json.loads((tmp_path / "dataset.json").read_text())["frames"]
    assert [row["side"] for row in rows] == ["train"] * 2 + ["valid"] * 2 + ["train"] * 2
    assert len({row["key"] for row in rows}) == 6
    assert rows[2]["group"] == "g1"


def test_a_changed_file_is_noticed(tmp_path: Path, dataset: DatasetDocument) -> None:
    write_dataset(dataset, tmp_path)
    path = tmp_path / "train.extxyz"
    energy = f"REF_energy={dataset.train_frames()[0].energy!r}"
    text = path.read_text()
    assert energy in text
    path.write_text(text.replace(energy, "REF_energy=1.5"))
    with pytest.raises(FramesError, match="a file was changed"):
        read_dataset(tmp_path)


def test_a_version_is_never_written_over(
    tmp_path: Path, dataset: DatasetDocument, make_frame: MakeFrame
) -> None:
    write_dataset(dataset, tmp_path)
    write_dataset(dataset, tmp_path)
    more = append(dataset, [make_frame(group="x", labeller="vasp", protocol="12e5")])
    before = (tmp_path / "train.extxyz").read_bytes()
    with pytest.raises(FramesError, match="never written over"):
        write_dataset(more, tmp_path)
    assert (tmp_path / "train.extxyz").read_bytes() == before


@pytest.mark.parametrize(("content", "why"), [("[1]", "one JSON object"), ("{", "cannot be read")])
def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path, content: str, why: str) -> None:
    with pytest.raises(FramesError, match=r"holds no dataset\.json"):
        read_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(FramesError, match=why):
        read_dataset(tmp_path)
