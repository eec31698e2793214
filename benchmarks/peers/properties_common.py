"""What every program in the properties benchmark shares: one line in asks for a property, one line out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

Answer = dict[str, Any]


def serve(tasks: Mapping[str, Callable[[], Answer]]) -> None:
    """Run the task named on each line of stdin; print its seconds and answer as one JSON line."""
    print(json.dumps({"ready": sorted(tasks)}), flush=True)
    for line in sys.stdin:
        begun = perf_counter()
        answer = tasks[line.strip()]()
        seconds = perf_counter() - begun
        print("answer " + json.dumps({"seconds": seconds, **answer}), flush=True)
