"""``mace_run_train`` as it is, with the number of threads set and the memory of the device told.

python run_mace.py [options of mace_run_train ...]
"""

from __future__ import annotations

import os
import sys

import torch
from mace.cli.run_train import main

if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    main()
    if "cuda" in sys.argv:
        print(f"device_memory {torch.cuda.max_memory_allocated() / 2**20:.0f}")
