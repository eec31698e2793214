"""Training of the toy pair: graphs kept in memory, Adam, a cosine over a wall-clock budget, EMA.

Every state is two files in the work directory, `state.safetensors` (parameters, their moving
average, Adam's moments) and `state.json` (epoch, batch, seconds), each replaced by an atomic rename;
a killed run continues where the last pair was written.
"""

from __future__ import annotations

import csv
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mace.data
import numpy as np
import torch
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
from mace.tools import AtomicNumberTable, torch_geometric
from prototype_crystals import CRYSTALS
from safetensors.torch import load_file, save_file
from toy_labels import FIRST_EXTRA, Labelled, read_labels

from phonotune.models.architecture import build_mace, save_shipped
from phonotune.models.shipped import WEIGHTS, ArchitectureCard

ELEMENTS = tuple(sorted({atomic_numbers[s] for crystal in CRYSTALS for s in crystal.symbols}))
HIDDEN = {"mini": "32x0e+32x1o", "teacher": "48x0e+48x1o"}
RADIAL_MLP = {"mini": (32, 16), "teacher": (64, 64)}
TRAINED_ON = {"mini": "CHGNet 0.3.0 (MPtrj, PBE(+U))", "teacher": "CHGNet r2scan (MP-r2SCAN)"}
R_MAX = 5.0
LOSS_WEIGHTS = {"forces": 1.0, "energy": 1.0, "stress": 1.5}
HUBER_DELTA = {"forces": 0.01, "energy": 0.002, "stress": 0.001}
BATCH_SIZE = 8
PEAK_RATE, FLOOR_RATE, WARM_UP_STEPS = 0.008, 5e-5, 300
EMA_DECAY = 0.999
CHECKPOINT_SECONDS = 120.0


@dataclass
class Progress:
    """Where a run stands: next epoch and batch, optimizer steps, training seconds used."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0


def fit_atomic_energies(frames: list[Labelled]) -> np.ndarray:
    """E0 of each element, eV, by least squares of the total energies on composition.

    A small ridge towards zero settles what stoichiometry leaves undetermined.
    """
    counts = np.array([[np.sum(f.atoms.numbers == z) for z in ELEMENTS] for f in frames], float)
    energies = np.array([f.energy for f in frames])
    n_atoms = counts.sum(axis=1, keepdims=True)
    rows = np.vstack([counts / n_atoms, 1e-3 * np.eye(len(ELEMENTS))])
    target = np.concatenate([energies / n_atoms[:, 0], np.zeros(len(ELEMENTS))])
    return np.linalg.lstsq(rows, target, rcond=None)[0]


def make_card(model: str, frames: list[Labelled]) -> ArchitectureCard:
    """The architecture card; E0, scale and mean neighbour number come from the training frames."""
    sample = [f.atoms for f in frames[:: max(1, len(frames) // 400)]]
    edges = sum(len(neighbor_list("i", atoms, R_MAX)) for atoms in sample)
    rms = float(np.sqrt(np.mean(np.concatenate([f.forces.ravel() for f in frames]) ** 2)))
    residual = "RealAgnosticResidualInteractionBlock"
    return ArchitectureCard(
        name=model,
        trained_on=TRAINED_ON[model],
        elements=ELEMENTS,
        r_max=R_MAX,
        num_radial=8,
        cutoff_p=5,
        l_max=2,
        hidden_irreps=HIDDEN[model],
        readout_irreps="16x0e",
        radial_mlp=RADIAL_MLP[model],
        correlation=3,
        num_interactions=2,
        interaction=residual,
        first_interaction=residual,
        avg_num_neighbors=edges / sum(len(atoms) for atoms in sample),
        atomic_energies=tuple(fit_atomic_energies(frames).tolist()),
        scale=rms,
        shift=0.0,
    )


def run_card(model: str, frames: list[Labelled], folder: Path) -> ArchitectureCard:
    """The run's card: written once at its start, so that a continued run keeps its E0 and scale."""
    path = folder / "card.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        card = make_card(model, [f for f in frames if f.split == "train"])
        path.write_text(card.model_dump_json(indent=1), encoding="utf-8")
    return ArchitectureCard.model_validate_json(path.read_text(encoding="utf-8"))


def make_graph(frame: Labelled, card: ArchitectureCard) -> Any:
    """The frame's graph; its `energy` is the interaction energy (total minus E0), eV, float32."""
    config = mace.data.config_from_atoms(frame.atoms)
    table = AtomicNumberTable(list(card.elements))
    graph = mace.data.AtomicData.from_config(config, z_table=table, cutoff=card.r_max)
    isolated = dict(zip(card.elements, card.atomic_energies, strict=True))
    interaction = frame.energy - sum(isolated[int(z)] for z in frame.atoms.numbers)
    graph.energy = torch.tensor(interaction, dtype=torch.float32)
    graph.forces = torch.tensor(frame.forces, dtype=torch.float32)
    graph.stress = torch.tensor(frame.stress, dtype=torch.float32)[None]
    return graph


def collate(graphs: list[Any]) -> dict[str, torch.Tensor]:
    """One batch as the dictionary that MACE's forward takes."""
    batch: dict[str, torch.Tensor] = torch_geometric.Batch.from_data_list(graphs).to_dict()
    return batch


def residuals(
    model: torch.nn.Module, batch: dict[str, torch.Tensor], training: bool
) -> dict[str, torch.Tensor]:
    """Model minus label: energy eV/atom (n_frames,), forces eV/Å (n_atoms, 3), stress eV/Å^3."""
    n_atoms = batch["ptr"][1:] - batch["ptr"][:-1]
    answer = model(dict(batch), training=training, compute_stress=True)
    return {
        "energy": (answer["interaction_energy"] - batch["energy"]) / n_atoms,
        "forces": answer["forces"] - batch["forces"],
        "stress": answer["stress"] - batch["stress"],
    }


def loss_of(errors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Weighted smooth-L1 losses; eV/Å + eV/atom + Å^-3-scaled stress, see `LOSS_WEIGHTS`."""
    terms = [
        LOSS_WEIGHTS[key]
        * torch.nn.functional.smooth_l1_loss(e, torch.zeros_like(e), beta=HUBER_DELTA[key])
        for key, e in errors.items()
    ]
    return torch.stack(terms).sum()


def rate_at(progress: Progress, budget: float) -> float:
    """Learning rate: linear warm-up, then a cosine over the budget of training seconds."""
    done = min(1.0, progress.seconds / budget)
    rate = FLOOR_RATE + 0.5 * (PEAK_RATE - FLOOR_RATE) * (1 + np.cos(np.pi * done))
    return float(rate * min(1.0, (progress.step + 1) / WARM_UP_STEPS))


class State:
    """Model, optimizer, moving average and progress of one run, with save and restore."""

    def __init__(self, card: ArchitectureCard, folder: Path) -> None:
        self.card, self.folder, self.progress = card, folder, Progress()
        self.model = build_mace(card, torch.float32)
        self.names = [name for name, _ in self.model.named_parameters()]
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, lr=PEAK_RATE, amsgrad=True)
        self.average = [p.detach().clone() for p in self.parameters]

    def save(self) -> None:
        """Write both files, each by an atomic rename."""
        tensors = {f"average/{n}": a for n, a in zip(self.names, self.average, strict=True)}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            tensors[f"parameter/{name}"] = parameter.detach()
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"adam.{key}/{name}"] = torch.as_tensor(value)
        self.folder.mkdir(parents=True, exist_ok=True)
        # The progress travels inside the tensors' file, so that both are always of one moment.
        meta = {"progress": json.dumps(asdict(self.progress))}
        save_file({k: v.contiguous() for k, v in tensors.items()}, self.folder / "partial", meta)
        (self.folder / "partial").replace(self.folder / "state.safetensors")

    def restore(self) -> bool:
        """Continue from the last saved state, if there is one."""
        from safetensors import safe_open

        path = self.folder / "state.safetensors"
        if not path.exists():
            return False
        tensors = load_file(path)
        with safe_open(path, framework="pt") as opened:
            self.progress = Progress(**json.loads(opened.metadata()["progress"]))
        with torch.no_grad():
            for i, (name, parameter) in enumerate(zip(self.names, self.parameters, strict=True)):
                parameter.copy_(tensors[f"parameter/{name}"])
                self.average[i].copy_(tensors[f"average/{name}"])
                self.optimizer.state[parameter] = {
                    key.split("/")[0].removeprefix("adam."): value.clone()
                    for key, value in tensors.items()
                    if key.startswith("adam.") and key.split("/", 1)[1] == name
                }
        return True

    def step(self, batch: dict[str, torch.Tensor], rate: float) -> float:
        """One optimizer step; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss_of(residuals(self.model, batch, training=True))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 10.0)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.progress.step += 1
        decay = min(EMA_DECAY, (1 + self.progress.step) / (10 + self.progress.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        return float(loss)

    def averaged_model(self) -> torch.nn.Module:
        """A copy of the model with the averaged parameters."""
        model = build_mace(self.card, torch.float32)
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), self.average, strict=True):
                parameter.copy_(value)
        return model.eval()


def mean_errors(model: torch.nn.Module, graphs: list[Any]) -> dict[str, float]:
    """MAE over all graphs: forces meV/Å (per component), energy meV/atom, stress GPa."""
    total = {"energy": 0.0, "forces": 0.0, "stress": 0.0}
    count = dict.fromkeys(total, 0)
    for start in range(0, len(graphs), 16):
        errors = residuals(model, collate(graphs[start : start + 16]), training=False)
        for key, e in errors.items():
            total[key] += float(e.detach().abs().sum())
            count[key] += e.numel()
    mean = {key: total[key] / max(1, count[key]) for key in total}
    return {
        "forces_mae_meV_A": 1e3 * mean["forces"],
        "energy_mae_meV_atom": 1e3 * mean["energy"],
        "stress_mae_GPa": 160.21766 * mean["stress"],
    }


def is_target(frame: Labelled) -> bool:
    """Whether a frame belongs to the held-out set that the stated accuracy is measured on.

    The same frame numbers for both models: the extra frames of the larger one do not count.
    """
    return frame.split == "held_out" and frame.rattle <= 0.1 and frame.number < FIRST_EXTRA


def _append_history(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def run_epoch(state: State, graphs: list[Any], budget: float) -> float:
    """The rest of the current epoch; saves every `CHECKPOINT_SECONDS`; returns the mean loss."""
    progress = state.progress
    order = np.random.default_rng(progress.epoch).permutation(len(graphs))
    n_batches = len(graphs) // BATCH_SIZE
    losses, saved = [], time.monotonic()
    while progress.batch < n_batches and progress.seconds < budget:
        start = time.monotonic()
        chosen = order[progress.batch * BATCH_SIZE : (progress.batch + 1) * BATCH_SIZE]
        losses.append(state.step(collate([graphs[i] for i in chosen]), rate_at(progress, budget)))
        progress.batch += 1
        progress.seconds += time.monotonic() - start
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            state.save()
            saved = time.monotonic()
    if progress.batch >= n_batches:
        state.progress = replace(progress, epoch=progress.epoch + 1, batch=0)
    return float(np.mean(losses)) if losses else float("nan")


def train(model: str, work: Path, budget: float) -> None:
    """Train (or continue) one model for `budget` seconds of training time in all."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    frames = read_labels(model, work)
    card = run_card(model, frames, work / "runs" / model)
    state = State(card, work / "runs" / model)
    resumed = state.restore()
    graphs = [make_graph(f, card) for f in frames if f.split == "train"]
    held_out = [make_graph(f, card) for f in frames if is_target(f)]
    size = sum(p.numel() for p in state.parameters)
    print(f"{model}: {len(graphs)} frames, {size} parameters, resumed={resumed}", flush=True)
    while state.progress.seconds < budget:
        loss = run_epoch(state, graphs, budget)
        state.save()
        row: dict[str, Any] = asdict(state.progress) | {"loss": loss}
        row |= mean_errors(state.averaged_model(), held_out)
        row["rate"] = rate_at(state.progress, budget)
        _append_history(state.folder / "history.csv", row)
        print(model, {k: round(v, 5) for k, v in row.items()}, flush=True)


def export(model: str, work: Path) -> None:
    """Write the run's averaged parameters and its card into the package."""
    folder = work / "runs" / model
    card = ArchitectureCard.model_validate_json((folder / "card.json").read_text(encoding="utf-8"))
    state = State(card, folder)
    if not state.restore():
        raise SystemExit(f"{folder} holds no training state; run the step `train` first.")
    save_shipped(state.averaged_model(), card, WEIGHTS)
    print(f"{model}: exported after {state.progress}", flush=True)
