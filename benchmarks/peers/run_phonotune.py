"""One fine-tuning by phonotune; a line an epoch on stdout, for benchmarks/finetune.py to time.

python run_phonotune.py TRAIN VALID STRATEGY DEVICE [foundation=FILE] [KEY=VALUE ...]
"""

from __future__ import annotations

import os
import sys
import tempfile

import torch


def show(row: dict[str, float]) -> None:
    print(f"epoch {row['epoch']:.0f} forces {row['valid_forces']:.4f}", flush=True)


def main() -> None:
    train, valid, strategy, device, *overrides = sys.argv[1:]
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PHONOTUNE_CHECKPOINT_DIR"] = folder
        from phonotune.data.assemble import assemble_given
        from phonotune.data.extxyz import read_frames
        from phonotune.models.foundation import trust_file
        from phonotune.training.config import parse_overrides
        from phonotune.training.finetune import finetune

        foundation = "mini"
        if overrides and overrides[0].startswith("foundation="):
            foundation = overrides.pop(0).removeprefix("foundation=")
            trust_file(foundation)
        dataset = assemble_given(read_frames(train), read_frames(valid), labeller="benchmark")
        document = finetune(dataset, foundation, parse_overrides(strategy, overrides), device, show)
    print(f"moved {document.plan.text}")
    if device == "cuda":
        print(f"device_memory {torch.cuda.max_memory_allocated() / 2**20:.0f}")


if __name__ == "__main__":
    main()
