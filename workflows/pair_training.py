"""Training of the toy pair on SevenNet's labels: MACE of MP-0b3's blocks, in phonotune's fast forward.

The learning rate follows the processor time that a run has used, so that a busy machine changes when it
ends but not how far it gets. Every two minutes parameters, their moving average, Adam's moments and the
progress go into one file by an atomic rename; a killed run continues there. A run takes the label files
that are there when it starts first (``run.json`` lists them) and keeps to them.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pair_frames import split_of
from pymatgen.core import Lattice, Structure
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from phonotune.models.architecture import build_mace, save_shipped
from phonotune.models.fast import accelerate
from phonotune.models.graphs import Batch, Graph, GraphSpec, build_graph, collate, fresh
from phonotune.models.shipped import ArchitectureCard

SURFACES = {"mini": "7net-0", "teacher": "7net-l3i5"}
CHANNELS, L_MAX = {"mini": 32, "teacher": 48}, 3
BATCH_ATOMS, WIDTH_GROUP = 128, 16
PEAK_RATE, FLOOR_RATE, WARM_UP_STEPS = 0.006, 3e-5, 300
EMA_DECAY = 0.999
LARGEST_FORCE = 10.0
"""eV/Å: frames beyond are not trained on; they lie outside of what a phonon calculation visits."""
LOSS_WEIGHTS = {"forces": 1.0, "energy": 1.0, "stress": 1.5}
HUBER_DELTA = {"forces": 0.01, "energy": 0.002, "stress": 0.001}
SAVE_SECONDS = 120.0


@dataclass(frozen=True, eq=False)
class Labelled:
    """One frame with its labels: energy eV (total), forces (n_atoms, 3) eV/Å, stress (3, 3) eV/Å^3."""

    crystal: str
    kind: str
    rattle: float
    split: str
    structure: Structure
    energy: float
    forces: np.ndarray
    stress: np.ndarray


@dataclass
class Progress:
    """Epoch, batch of this epoch, steps, and seconds of processor time."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0


def read_labels(path: Path, surface: str) -> list[Labelled]:
    """The frames of one crystal's file with the labels of one surface."""
    name, found = path.stem, []
    with np.load(path) as a:
        data = {key: a[key] for key in a.files if "/" not in key or key.startswith(f"{surface}/")}
    ends = np.cumsum(data["n_atoms"])
    for i, (end, n) in enumerate(zip(ends, data["n_atoms"], strict=True)):
        atoms = slice(end - n, end)
        kind = str(data["kinds"][i])
        structure = Structure(
            Lattice(data["cells"][i]),
            data["numbers"][atoms].tolist(),
            data["positions"][atoms],
            coords_are_cartesian=True,
        )
        found.append(
            Labelled(
                crystal=name,
                kind=kind,
                rattle=float(data["rattles"][i]),
                split=split_of(name, kind, int(data["frame_numbers"][i])),
                structure=structure,
                energy=float(data[f"{surface}/energies"][i]),
                forces=data[f"{surface}/forces"][atoms],
                stress=data[f"{surface}/stresses"][i],
            )
        )
    return found


def harmonic_weight(rattle: float) -> float:
    """Weight of a frame's forces: a force constant is force over displacement, so small ones count more.

    1 for frames that are not rattled and for 0.04 Å; between 0.5 and 3.
    """
    return float(np.clip(0.04 / rattle, 0.5, 3.0)) if rattle > 0 else 1.0


def fit_atomic_energies(frames: list[Labelled], elements: tuple[int, ...]) -> np.ndarray:
    """E0 of each element, eV, by least squares of the energies per atom on composition.

    A small ridge towards zero settles what stoichiometry leaves undetermined: only sums over formulas have a
    meaning. Energies of isolated atoms (``isolated.json``) would put the whole cohesive energy into the net.
    """
    numbers = [np.array(f.structure.atomic_numbers) for f in frames]
    shares = np.array([[np.mean(n == z) for z in elements] for n in numbers])
    target = np.array([f.energy / len(n) for f, n in zip(frames, numbers, strict=True)])
    rows = np.vstack([shares, 1e-3 * np.eye(len(elements))])
    return np.linalg.lstsq(rows, np.concatenate([target, np.zeros(len(elements))]), rcond=None)[0]


def make_card(model: str, frames: list[Labelled], neighbours: float) -> ArchitectureCard:
    """The architecture: MP-0b3's kinds of block, few channels, a cutoff of 5 Å."""
    channels = CHANNELS[model]
    elements = tuple(sorted({int(z) for f in frames for z in f.structure.atomic_numbers}))
    forces = np.concatenate([f.forces.ravel() for f in frames])
    return ArchitectureCard(
        name=model,
        trained_on=f"{SURFACES[model]} (sevenn 0.13.0; MPtrj, PBE(+U))",
        elements=elements,
        r_max=5.0,
        num_radial=8,
        cutoff_p=5,
        l_max=L_MAX,
        hidden_irreps=f"{channels}x0e+{channels}x1o",
        readout_irreps="16x0e",
        radial_mlp=(channels, channels),
        correlation=2,
        num_interactions=2,
        interaction="RealAgnosticDensityResidualInteractionBlock",
        first_interaction="RealAgnosticDensityInteractionBlock",
        avg_num_neighbors=neighbours,
        atomic_energies=tuple(fit_atomic_energies(frames, elements).tolist()),
        scale=float(np.sqrt(np.mean(forces**2))),
        shift=0.0,
        pair_repulsion=True,
        distance_transform="None",  # with "Agnesi" forces are learnt 3 to 4 times more slowly
    )


class LabelledGraphs:
    """Frames as graphs, with what the loss needs."""

    def __init__(self, frames: list[Labelled], card: ArchitectureCard) -> None:
        spec = GraphSpec(card.elements, card.r_max, torch.float32)
        isolated = dict(zip(card.elements, card.atomic_energies, strict=True))
        self.frames = frames
        self.graphs: list[Graph] = [build_graph(f.structure, spec) for f in frames]
        self.widths = np.array([graph.width for graph in self.graphs])
        self.sizes = np.array([graph.n_atoms for graph in self.graphs])
        own = [sum(isolated[z] for z in f.structure.atomic_numbers) for f in frames]
        self.energies = np.array([f.energy - e for f, e in zip(frames, own, strict=True)])

    def batches(self, rng: np.random.Generator | None) -> list[np.ndarray]:
        """Indices of every batch of an epoch: at most `BATCH_ATOMS` atoms, or one frame.

        Frames of like numbers of neighbours come together, because the forward pads all to the largest:
        random frames are sorted within groups of about `WIDTH_GROUP` batches.
        """
        n = len(self.frames)
        order = np.arange(n) if rng is None else rng.permutation(n)
        group = max(1, int(WIDTH_GROUP * BATCH_ATOMS / self.sizes.mean()))
        made: list[np.ndarray] = []
        for start in range(0, n, group):
            part = order[start : start + group]
            part = part[np.argsort(self.widths[part], kind="stable")]
            full = np.cumsum(self.sizes[part]) // BATCH_ATOMS
            made += [part[full == k] for k in np.unique(full)]
        return made if rng is None else [made[i] for i in rng.permutation(len(made))]

    def batch(self, indices: np.ndarray) -> tuple[Batch, dict[str, torch.Tensor]]:
        """A collated batch with its labels; ``weight`` is per atom."""
        frames = [self.frames[i] for i in indices]
        weights = [harmonic_weight(f.rattle) for f in frames]
        labels = {
            "energy": self.energies[indices],
            "forces": np.concatenate([f.forces for f in frames]),
            "stress": np.array([f.stress for f in frames]),
            "weight": np.repeat(weights, self.sizes[indices]),
            "sizes": self.sizes[indices],
        }
        graph = collate([self.graphs[i] for i in indices])
        return graph, {k: torch.tensor(v, dtype=torch.float32) for k, v in labels.items()}


def errors_of(
    model: torch.nn.Module, graph: Batch, labels: dict[str, torch.Tensor], training: bool
) -> dict[str, torch.Tensor]:
    """Model minus label: energy eV/atom (n_frames,), forces eV/Å (n_atoms, 3), stress eV/Å^3."""
    found = model(fresh(graph), training=training, compute_force=True, compute_stress=True)
    return {
        "energy": (found["interaction_energy"] - labels["energy"]) / labels["sizes"],
        "forces": found["forces"] - labels["forces"],
        "stress": found["stress"] - labels["stress"],
    }


def loss_of(errors: dict[str, torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    """Weighted smooth-L1 losses of eV/atom, eV/Å and eV/Å^3; forces by :func:`harmonic_weight`."""
    terms = []
    for key, error in errors.items():
        values = torch.nn.functional.smooth_l1_loss(
            error, torch.zeros_like(error), beta=HUBER_DELTA[key], reduction="none"
        )
        if key == "forces":
            values = values * weight[:, None]
        terms.append(LOSS_WEIGHTS[key] * values.mean())
    return torch.stack(terms).sum()


def rate_at(progress: Progress, budget: float) -> float:
    """Learning rate: a warm-up, then a cosine over the budget of processor seconds."""
    done = min(1.0, progress.seconds / budget)
    rate = FLOOR_RATE + 0.5 * (PEAK_RATE - FLOOR_RATE) * (1 + np.cos(np.pi * done))
    return float(rate * min(1.0, (progress.step + 1) / WARM_UP_STEPS))


class Run:
    """Model, optimizer, moving average and progress; saved and restored as one file."""

    def __init__(self, card: ArchitectureCard, folder: Path) -> None:
        self.card, self.path, self.progress = card, folder / "state.safetensors", Progress()
        self.model = accelerate(build_mace(card, torch.float32))
        self.parameters = dict(self.model.named_parameters())
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=PEAK_RATE, amsgrad=True)
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()}

    def save(self) -> None:
        """Write the state by an atomic rename; the progress travels with the tensors."""
        tensors = {f"average/{name}": value for name, value in self.average.items()}
        for name, parameter in self.parameters.items():
            tensors[f"parameter/{name}"] = parameter.detach()
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"adam.{key}/{name}"] = torch.as_tensor(value)
        meta = {"progress": json.dumps(asdict(self.progress))}
        partial = self.path.with_suffix(".partial")
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial, meta)
        partial.replace(self.path)

    def restore(self) -> bool:
        """Continue from the saved state; False if there is none."""
        if not self.path.exists():
            return False
        with safe_open(self.path, framework="pt") as opened:
            self.progress = Progress(**json.loads(opened.metadata()["progress"]))
        for key, value in load_file(self.path).items():
            kind, name = key.split("/", 1)
            if kind == "average":
                self.average[name] = value
            elif kind == "parameter":
                self.parameters[name].data.copy_(value)
            else:
                moments = self.optimizer.state[self.parameters[name]]
                moments[kind.removeprefix("adam.")] = value
        return True

    def step(self, graph: Batch, labels: dict[str, torch.Tensor], rate: float) -> float:
        """One step; a gradient that is not finite moves nothing. Returns the loss before it."""
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss_of(errors_of(self.model, graph, labels, training=True), labels["weight"])
        loss.backward()
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(self.parameters.values(), 10.0)):
            self.optimizer.step()
        self.progress.step += 1
        decay = min(EMA_DECAY, (1 + self.progress.step) / (10 + self.progress.step))
        live = [p.detach() for p in self.parameters.values()]
        torch._foreach_lerp_(list(self.average.values()), live, 1 - decay)
        return float(loss.detach())

    def averaged(self) -> torch.nn.Module:
        """A plain MACE with the averaged parameters, what is shipped."""
        model = build_mace(self.card, torch.float32)
        for name, parameter in model.named_parameters():
            parameter.data.copy_(self.average[name])
        return model.eval()


def mean_errors(model: torch.nn.Module, graphs: LabelledGraphs) -> dict[str, float]:
    """Mean absolute errors: forces meV/Å, energy meV/atom, stress GPa."""
    sums = {"forces": 0.0, "energy": 0.0, "stress": 0.0}
    counts = dict.fromkeys(sums, 0)
    for indices in graphs.batches(None):
        for key, error in errors_of(model, *graphs.batch(indices), training=False).items():
            sums[key] += float(error.detach().abs().sum())
            counts[key] += error.numel()
    scales = {"forces": 1e3, "energy": 1e3, "stress": 160.21766}
    return {key: scales[key] * sums[key] / max(1, counts[key]) for key in sums}


def start(model: str, work: Path) -> tuple[ArchitectureCard, list[Labelled]]:
    """The run's card and frames: fixed at its first start by the label files that there are."""
    folder = work / "runs" / model
    record = folder / "run.json"
    if not record.exists():
        names = sorted(path.stem for path in (work / "labels").glob("*.npz"))
        frames = [
            f for n in names for f in read_labels(work / "labels" / f"{n}.npz", SURFACES[model])
        ]
        usable = [
            f for f in frames if f.split == "train" and np.abs(f.forces).max() < LARGEST_FORCE
        ]
        spec = GraphSpec(tuple(range(1, 100)), 5.0, torch.float32)
        sample = [build_graph(f.structure, spec) for f in usable[:: max(1, len(usable) // 300)]]
        neighbours = sum(g.n_edges for g in sample) / sum(g.n_atoms for g in sample)
        card = make_card(model, usable, neighbours)
        folder.mkdir(parents=True, exist_ok=True)
        partial = record.with_suffix(".partial")
        partial.write_text(json.dumps({"card": card.model_dump(), "crystals": names}), "utf-8")
        partial.replace(record)
    stored = json.loads(record.read_text("utf-8"))
    paths = [work / "labels" / f"{name}.npz" for name in stored["crystals"]]
    frames = [f for path in paths for f in read_labels(path, SURFACES[model])]
    card = ArchitectureCard.model_validate(stored["card"])
    known = set(card.elements)
    frames = [f for f in frames if set(f.structure.atomic_numbers) <= known]
    return card, [f for f in frames if np.abs(f.forces).max() < LARGEST_FORCE]


def train(model: str, work: Path, hours: float) -> None:
    """Train (or continue) one model for `hours` of processor time in all."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    budget = 3600.0 * hours
    card, frames = start(model, work)
    run = Run(card, work / "runs" / model)
    resumed = run.restore()
    graphs = LabelledGraphs([f for f in frames if f.split == "train"], card)
    held = LabelledGraphs([f for f in frames if f.split == "validation"], card)
    size = sum(p.numel() for p in run.parameters.values())
    print(
        f"{model}: {len(graphs.frames)} frames, {graphs.sizes.sum()} atoms, {size} parameters, ",
        end="",
    )
    print(f"continued at {run.progress}" if resumed else "from the start", flush=True)
    while run.progress.seconds < budget:
        loss = _epoch(run, graphs, budget)
        run.save()
        row: dict[str, Any] = asdict(run.progress) | {"loss": loss}
        row |= mean_errors(accelerate(run.averaged()), held)
        _append(run.path.with_name("history.csv"), row)
        share = run.progress.seconds / budget
        shown = "  ".join(f"{k} {row[k]:.3g}" for k in ("loss", "forces", "energy", "stress"))
        print(f"{model} epoch {run.progress.epoch}, {share:.1%} of {hours} h: {shown}", flush=True)


def _remaining(run: Run, graphs: LabelledGraphs) -> Iterator[np.ndarray]:
    yield from graphs.batches(np.random.default_rng(run.progress.epoch))[run.progress.batch :]


def _epoch(run: Run, graphs: LabelledGraphs, budget: float) -> float:
    """The rest of the current epoch; returns its mean loss."""
    losses, saved = [], time.monotonic()
    for indices in _remaining(run, graphs):
        if run.progress.seconds >= budget:
            return float(np.mean(losses)) if losses else float("nan")
        began = time.process_time()
        losses.append(run.step(*graphs.batch(indices), rate_at(run.progress, budget)))
        run.progress.batch += 1
        run.progress.seconds += time.process_time() - began
        if time.monotonic() - saved > SAVE_SECONDS:
            run.save()
            saved = time.monotonic()
    run.progress.epoch, run.progress.batch = run.progress.epoch + 1, 0
    return float(np.mean(losses))


def _append(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def export(model: str, work: Path, directory: Path) -> None:
    """Write the averaged parameters and the card of a run into `directory`."""
    stored = json.loads((work / "runs" / model / "run.json").read_text("utf-8"))
    run = Run(ArchitectureCard.model_validate(stored["card"]), work / "runs" / model)
    if not run.restore():
        raise SystemExit(f"{run.path} is not there; run the step `train` first.")
    directory.mkdir(parents=True, exist_ok=True)
    save_shipped(run.averaged(), run.card, directory)
    print(f"{model}: {directory}, after {run.progress}", flush=True)
