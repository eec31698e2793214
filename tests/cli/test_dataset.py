"""`import` and `dataset`: what frames hold, splits by whole groups, versions, names of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.data.extxyz import read_frames, write_frames
from phonotune.schemas.dataset import Frame


def frame(seed: int, **changes: Any) -> Frame:
    """A rattled cell of CsCl with made-up labels."""
    rng = np.random.default_rng(seed)
    shift = rng.normal(scale=0.02, size=(2, 3))
    parts = {
        "structure": Structure(
            Lattice.cubic(4.1), ["Cs", "Cl"], np.array([[0, 0, 0], [0.5] * 3]) + shift
        ),
        "energy": -6.0 - 0.01 * seed,
        "forces": rng.normal(size=(2, 3)),
        "stress": 1e-3 * np.eye(3),
        "group": f"volume {seed // 2}",
        "origin": f"frame {seed}",
        "labeller": "teacher",
        "protocol": "p1",
    }
    return Frame(**(parts | changes))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Eight frames in four groups."""
    path = tmp_path / "labelled.extxyz"
    write_frames(path, map(frame, range(8)))
    return path


def test_info_counts_what_a_file_holds(cli: Any, file: Path) -> None:
    write_frames(file, [*map(frame, range(8)), frame(3, origin="copy")])
    found = cli("dataset", "info", file)
    assert (found["n_frames"], found["n_groups"]) == (9, 4)
    assert found["groups"]["volume 1"] == 3
    assert found["duplicates"] == [[4, 9]]
    assert found["protocols"] == {"teacher p1": 9}
    assert (found["energy_highest"], found["energy_lowest"]) == (-3.0, pytest.approx(-3.035))
    assert found["pressure_lowest"] == pytest.approx(-0.1602, abs=1e-4)
    assert found["warnings"] == []


def test_info_for_people_is_a_table_with_units(cli: Any, file: Path) -> None:
    shown = cli.plain("dataset", "info", file).stdout
    for text in ("CsCl: 8", "teacher p1: 8", "volume 0: 2", "eV/atom", "-3.0350 to -3.0000", "GPa"):
        assert text in shown


@pytest.mark.parametrize("command", ["import", "info"])
def test_energies_in_another_unit_are_flagged(
    cli: Any, tmp_path: Path, file: Path, command: str
) -> None:
    write_frames(file, [frame(i, energy=-6.0 * 23.06) for i in range(2)])
    words = (
        ["import", file, "-o", tmp_path / "o"] if command == "import" else ["dataset", "info", file]
    )
    (warning,) = cli(*words)["warnings"]
    assert "69 eV/atom" in warning
    assert "kcal/mol" in cli.plain(*words).stderr


def test_split_by_share_keeps_groups_whole_and_is_repeatable(
    cli: Any, tmp_path: Path, file: Path
) -> None:
    found = [
        cli("dataset", "split", file, "--valid", "0.25", "--seed", seed, "-o", tmp_path / name)
        for name, seed in (("a", 0), ("b", 0), ("c", 1), ("d", 2), ("e", 3))
    ]
    train, valid = (read_frames(tmp_path / "a" / name) for name in ("train.extxyz", "valid.extxyz"))
    assert (len(train), len(valid)) == (6, 2)
    assert {f.group for f in train}.isdisjoint({f.group for f in valid})
    hashes = [result["dataset"]["dataset_hash"] for result in found]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) > 1
    assert found[0]["dataset"]["labeller"] == "teacher"
    assert "seed 0" in found[0]["dataset"]["split"]["reason"]


def test_split_by_name_and_info_of_the_folder(cli: Any, tmp_path: Path, file: Path) -> None:
    folder = tmp_path / "dataset"
    options = ["--valid-group", "volume 1", "--valid-group", "volume 3"]
    made = cli("dataset", "split", file, *options, "-o", folder)
    assert {f.group for f in read_frames(folder / "valid.extxyz")} == {"volume 1", "volume 3"}
    found = cli("dataset", "info", folder)
    assert found["n_frames"] == 8
    assert found["dataset"] == made["dataset"]


def test_append_writes_a_new_version_and_leaves_the_old(
    cli: Any, tmp_path: Path, file: Path
) -> None:
    old, new = tmp_path / "one", tmp_path / "two"
    made = cli("dataset", "split", file, "--valid-group", "volume 1", "-o", old)
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    more = tmp_path / "more.extxyz"
    write_frames(more, [frame(7), frame(20)])
    found = cli("dataset", "append", old, more, "-o", new)["dataset"]
    assert (found["version"], found["parent_hash"]) == (2, made["dataset"]["dataset_hash"])
    assert (found["train"], found["valid"], found["n_duplicates"]) == (7, 2, 1)
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
    assert "never written over" in cli.error("dataset", "append", old, more, "-o", old)


def test_export_has_the_names_that_ase_reads(cli: Any, tmp_path: Path, file: Path) -> None:
    output = tmp_path / "ase.extxyz"
    keys = ("--energy-key", "energy", "--forces-key", "forces", "--stress-key", "stress")
    assert cli("dataset", "export", file, *keys, "-o", output)["frames"] == 8
    images = ase.io.read(output, index=":")
    assert [atoms.get_potential_energy() for atoms in images] == [frame(i).energy for i in range(8)]
    again = tmp_path / "again.extxyz"
    cli("import", output, "-o", again)
    for one, other in zip(read_frames(file), read_frames(again), strict=True):
        assert one.energy == other.energy
        assert np.array_equal(one.forces, other.forces)
        assert (one.group, one.protocol) == (other.group, other.protocol)
        np.testing.assert_allclose(one.stress, other.stress, rtol=0, atol=1e-18)


def test_mixed_protocols_need_to_be_allowed(cli: Any, tmp_path: Path, file: Path) -> None:
    write_frames(file, [frame(i, protocol=f"p{i // 4}") for i in range(8)])
    output = tmp_path / "o"
    words = ("dataset", "split", file, "--valid", "0.25", "-o", output)
    message = cli.error(*words)
    assert "'teacher p0'" in message
    assert "--allow-mixed" in message
    assert "Mixed protocols" in cli.error("import", file, "-o", output)
    assert not output.exists()
    assert cli(*words, "--allow-mixed")["dataset"]["mixed"] is True
    found = cli("import", file, "-o", tmp_path / "all.extxyz", "--allow-mixed")
    assert found["protocols"] == {"teacher p0": 4, "teacher p1": 4}


def test_finetune_refuses_mixed_protocols(cli: Any, tmp_path: Path, file: Path) -> None:
    other = tmp_path / "valid.extxyz"
    write_frames(other, [frame(30, protocol="p2", group="x")])
    options = ["--train", file, "--valid", other, "--foundation", "mini", "--strategy", "lora"]
    message = cli.error("finetune", *options, "-o", tmp_path / "model")
    assert "Mixed protocols" in message
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "exactly one"),
        (("--valid", "0.2", "--valid-group", "volume 1"), "exactly one"),
        (("--valid", "1.5"), "between 0 and 1"),
        (("--valid-group", "volume 9"), "groups found: volume 0, volume 1"),
    ],
)
def test_a_split_that_is_not_possible_is_one_sentence(
    cli: Any, tmp_path: Path, file: Path, options: tuple[str, ...], message: str
) -> None:
    found = cli.error("dataset", "split", file, *options, "-o", tmp_path / "o")
    assert message in found
    assert "\n" not in found
    assert not (tmp_path / "o").exists()


def test_files_that_are_no_datasets_are_refused(cli: Any, tmp_path: Path, file: Path) -> None:
    assert "does not exist" in cli.error("dataset", "info", tmp_path / "nothing")
    assert "holds no dataset.json" in cli.error("dataset", "info", tmp_path)
    assert "holds no dataset.json" in cli.error(
        "dataset", "append", file, file, "-o", tmp_path / "o"
    )
    bare = tmp_path / "bare.extxyz"
    write_frames(bare, [frame(0, energy=None, forces=None, stress=None)])
    message = cli.error("dataset", "split", bare, "--valid", "0.2", "-o", tmp_path / "o")
    assert "REF_forces" in message


def test_import_takes_one_key_and_says_which_are_there(
    cli: Any, tmp_path: Path, file: Path
) -> None:
    file.write_text(file.read_text().replace("REF_energy", "dft"))
    output = tmp_path / "o.extxyz"
    found = cli("import", file, "--energy-key", "dft", "-o", output)
    assert found["labels"] == {"energy": 8, "forces": 8, "stress": 8}
    message = cli.error("import", file, "--energy-key", "energy", "-o", tmp_path / "p")
    assert "keys found: " in message
    assert "dft" in message


def test_the_manifest_is_json_with_a_row_a_frame(cli: Any, tmp_path: Path, file: Path) -> None:
    cli("dataset", "split", file, "--valid", "0.25", "-o", tmp_path / "d")
    manifest = json.loads((tmp_path / "d" / "dataset.json").read_text())
    assert [row["origin"] for row in manifest["frames"]] == [f"frame {i}" for i in range(8)]
    assert manifest["statistics"]["n_frames"] == 8


def test_what_was_changed_in_frames_is_said_by_every_command(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    path.write_text(
        '2\nLattice="2.1 0 2.1 0 2.1 2.1 2.1 2.1 0" Properties=species:S:1:pos:R:3:REF_forces:R:3 '
        'REF_energy=-11.9 REF_stress="0.1 0.1 0.1 0 0 0"\nMg 0 0 0 -0.1 0 0\nO 2.09 2.1 2.1 0.1 0 0\n'
    )
    found = cli("import", path, "-o", tmp_path / "b.extxyz.gz")
    assert [note["what"] for note in found["notes"]] == [
        "Two vectors of a left-handed cell are swapped, its labels unchanged",
        "Six numbers of REF_stress are taken as xx yy zz yz xz xy",
    ]
    for command in (
        ["dataset", "info", path],
        ["dataset", "export", path, "-o", tmp_path / "c.xyz"],
    ):
        shown = cli.plain(*command)
        assert shown.exit_code == 0
        assert "Note: Two vectors of a left-handed cell are swapped" in shown.stderr
    shown = cli.plain("dataset", "info", tmp_path / "b.extxyz.gz")
    assert "left-handed" not in shown.stderr


def test_isolated_atoms_are_listed_and_kept_apart_by_every_command(
    cli: Any, tmp_path: Path, file: Path
) -> None:
    box = 'Lattice="20 0 0 0 20 0 0 0 20" Properties=species:S:1:pos:R:3 config_type=IsolatedAtom'
    atoms = "".join(
        f"1\n{box} REF_energy={energy}\n{symbol} 0 0 0\n"
        for symbol, energy in (("Na", -0.25), ("Cl", -1.5))
    )
    file.write_text(atoms + file.read_text())
    energies = {"Na": -0.25, "Cl": -1.5}
    found = cli("import", file, "-o", tmp_path / "in.extxyz")
    assert found["isolated_atoms"] == energies
    assert found["frames"] == 8
    found = cli("dataset", "info", tmp_path / "in.extxyz")
    assert found["isolated_atoms"] == energies
    assert found["n_frames"] == 8
    arguments = [
        "dataset",
        "split",
        tmp_path / "in.extxyz",
        "--valid",
        "0.25",
        "-o",
        tmp_path / "d",
    ]
    assert cli(*arguments)["dataset"]["isolated_atoms"] == energies
    shown = cli.plain("dataset", "info", tmp_path / "d")
    assert "do not train: Na -0.25 eV, Cl -1.5 eV." in shown.stderr
    found = cli("dataset", "export", tmp_path / "d", "-o", tmp_path / "out.extxyz")
    assert found["frames"] == 8
    assert (tmp_path / "out.extxyz").read_text().count("config_type=IsolatedAtom") == 2
