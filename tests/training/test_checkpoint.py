import pytest
import torch

from phonotune.errors import InputError, TrainingError
from phonotune.training.checkpoint import Checkpoint
from phonotune.training.config import parse_overrides
from phonotune.training.state import start_state
from phonotune.training.strategies import find_strategy

OPTIONS = parse_overrides("lora", ["ema=0.9", "max_epochs=5"]).root


@pytest.fixture
def fresh_state(foundation):
    plan = find_strategy("lora").plan(foundation, [11, 17], OPTIONS)
    return lambda: start_state(plan, OPTIONS, foundation, next(foundation.parameters()))


@pytest.fixture
def moved_state(fresh_state):
    """A state after one optimiser step and one epoch."""
    state = fresh_state()
    for tensor in state.tensors.values():
        tensor.grad = torch.ones_like(tensor)
    state.optimizer.step()
    state.steps = 1
    state.record({"epoch": 0, "valid_loss": 0.1 + 0.2, "seconds": 1.5})
    return state


def test_a_state_survives_the_file_bit_by_bit(tmp_path, fresh_state, moved_state):
    checkpoint = Checkpoint(tmp_path / "deep" / "state.safetensors")
    checkpoint.write(moved_state)
    state = fresh_state()
    assert checkpoint.read_into(state)
    assert state.history == moved_state.history
    assert state.steps == 1
    for name, tensor in moved_state.tensors.items():
        assert torch.equal(state.tensors[name], tensor)
        assert torch.equal(state.best[name], moved_state.best[name])
        assert torch.equal(state.average[name], moved_state.average[name])
        for entry, value in moved_state.optimizer.state[tensor].items():
            assert torch.equal(state.optimizer.state[state.tensors[name]][entry], value), entry


def test_only_the_whole_file_is_ever_there(tmp_path, moved_state):
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    checkpoint.write(moved_state)
    checkpoint.write(moved_state)
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    checkpoint.remove()
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_named(tmp_path, fresh_state, moved_state):
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    checkpoint.write(moved_state)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-10])
    with pytest.raises(TrainingError, match="cannot be read"):
        checkpoint.read_into(fresh_state())


def test_the_name_depends_on_all_that_determines_the_result_and_on_nothing_else(tmp_path):
    def path(sha="a", dataset="d", *overrides, member=0):
        options = parse_overrides("lora", list(overrides)).root
        return Checkpoint.of(tmp_path, sha, dataset, options, member).path

    names = {path(), path("b"), path("a", "e"), path("a", "d", "seed=1"), path(member=1)}
    assert len(names) == 5
    assert path("a", "d", "max_seconds=5") == path()


def test_the_name_follows_the_content_of_the_files_that_the_options_name(tmp_path):
    file = tmp_path / "replay.extxyz"
    options = parse_overrides("lora", [f"replay.file={file}"]).root
    file.write_text("one")
    first = Checkpoint.of(tmp_path, "a", "d", options).path
    file.write_text("other")
    assert Checkpoint.of(tmp_path, "a", "d", options).path != first
    file.unlink()
    with pytest.raises(InputError, match=r"replay.extxyz cannot be read"):
        Checkpoint.of(tmp_path, "a", "d", options)


def test_the_name_follows_the_forces_beside_a_phonopy_yaml(tmp_path):
    (tmp_path / "phonopy_disp.yaml").write_text(
        "phonopy: {version: 2.7.0}\nsupercell_matrix: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]\n"
        "unit_cell:\n  lattice: [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]\n"
        "  points: [{symbol: Cs, coordinates: [0, 0, 0]}, {symbol: Cl, coordinates: [0.5, 0.5, 0.5]}]\n"
    )
    forces = tmp_path / "FORCE_SETS"
    forces.write_text("2\n1\n\n2\n0 0 0.01\n0 0 0.1\n0 0 -0.1\n")
    options = parse_overrides("lora", [f"hessian.file={tmp_path}"]).root
    first = Checkpoint.of(tmp_path, "a", "d", options).path
    assert Checkpoint.of(tmp_path, "a", "d", options).path == first
    forces.write_text(forces.read_text().replace("0.1", "0.2"))
    assert Checkpoint.of(tmp_path, "a", "d", options).path != first


def test_rewinding_takes_back_every_step(moved_state):
    before = moved_state.snapshot()
    kept = moved_state.to_bytes()
    for tensor in moved_state.tensors.values():
        tensor.grad = torch.full_like(tensor, 3.0)
    moved_state.optimizer.step()
    moved_state.steps += 1
    assert moved_state.to_bytes() != kept
    moved_state.rewind(before)
    assert moved_state.to_bytes() == kept
