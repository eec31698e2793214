"""One fine-tuning by Equitrain through its API: its parser, its wrappers, its ``train``.

python run_equitrain.py early|delta|lora DEVICE [options of the equitrain command ...]

Its command line knows no fine-tuning wrapper, so the wrapped model goes in as ``args.model``, as its
documentation does.
"""

from __future__ import annotations

import os
import sys

import torch
from equitrain import get_args_parser_train, train
from equitrain.backends.torch_wrappers import MaceWrapper
from equitrain.finetune.delta_torch import DeltaFineTuneWrapper
from equitrain.finetune.lora_torch import LoRAFineTuneWrapper

EARLY = ("node_embedding", "interactions.0")


def wrapped(kind: str, base: MaceWrapper) -> torch.nn.Module:
    if kind == "lora":
        return LoRAFineTuneWrapper(base)
    model = DeltaFineTuneWrapper(base)
    if kind == "early":
        names = model.delta_layer_names
        late = [str(i) for i, name in enumerate(names) if name not in EARLY]
        model.freeze_delta_layers(",".join(late))
    return model


def main() -> None:
    wrapper, device, *options = sys.argv[1:]
    os.environ["ACCELERATE_USE_CPU"] = str(device == "cpu").lower()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    args = get_args_parser_train().parse_args(options)
    foundation = torch.load(args.model, weights_only=False, map_location="cpu")
    args.model = wrapped(wrapper, MaceWrapper(args, foundation))
    train(args)
    if device == "cuda":
        print(f"device_memory {torch.cuda.max_memory_allocated() / 2**20:.0f}")


if __name__ == "__main__":
    main()
