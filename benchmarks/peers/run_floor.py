"""The floor of an epoch on the plain e3nn model: forward and the needed backward, nothing else.

python run_floor.py TRAIN VALID early|all DEVICE EPOCHS

Graphs and batches are made once; training frames: energy, forces, stress and their derivatives with
respect to the trained weights; validation frames: energy, forces, stress. No optimiser, no metric.
The model keeps all elements of the foundation, as it comes: a program that first drops those that the
material lacks (mace_run_train does), or that has faster kernels, can lie below.
"""

from __future__ import annotations

import os
import sys

import torch

from phonotune.data.extxyz import read_frames
from phonotune.models.graphs import fresh
from phonotune.models.load import load_model
from phonotune.training.batches import FrameSet

EARLY = ("node_embedding.", "interactions.0.")


def epoch(model: torch.nn.Module, train: list, valid: list, leaves: list[torch.Tensor]) -> None:
    flags = {"compute_force": True, "compute_stress": True}
    for batch in train:
        out = model(fresh(batch.graph), training=True, **flags)
        loss = sum(out[key].square().sum() for key in ("interaction_energy", "forces", "stress"))
        torch.autograd.grad(loss, leaves, allow_unused=True)
    for batch in valid:
        model(fresh(batch.graph), training=False, **flags)
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    *files, trained, device, epochs = sys.argv[1:]
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    model = load_model("mini", "float32").to(device).requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained == "all" or name.startswith(EARLY))
    frames = [read_frames(path) for path in files]
    elements = sorted({int(z) for side in frames for f in side for z in f.structure.atomic_numbers})
    train, valid = (FrameSet.build(side, model, elements).in_order(2) for side in frames)
    leaves = [p for p in model.parameters() if p.requires_grad]
    for number in range(int(epochs) + 1):
        epoch(model, train, valid, leaves)
        print(f"epoch {number} forces nan", flush=True)


if __name__ == "__main__":
    main()
