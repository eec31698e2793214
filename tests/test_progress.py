"""Progress counts; as lines of a log it stays short."""

import logging

from phonotune.progress import LoggedProgress, Progress


class Recorded(Progress):
    """Keeps what was shown."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def show(self):
        self.seen.append((self.done, self.total, self.text))


def test_steps_are_counted_or_given():
    progress = Recorded()
    progress.start("cells", 3)
    progress.advance()
    progress.advance(3, "last cell")
    progress.advance(total=5)
    assert progress.seen == [
        (0, 3, "cells"),
        (1, 3, "cells"),
        (3, 3, "last cell"),
        (4, 5, "last cell"),
    ]


def test_a_log_gets_a_line_in_ten_seconds_and_the_end(caplog):
    caplog.set_level(logging.INFO)
    progress = LoggedProgress(logging.getLogger("work"))
    progress.start("steps", 100)
    for _ in range(100):
        progress.advance()
    progress.note("one cell did not converge")
    assert caplog.messages == ["steps: 0 of 100", "steps: 100 of 100", "one cell did not converge"]


def test_a_log_without_pause_gets_every_step(caplog):
    caplog.set_level(logging.INFO)
    progress = LoggedProgress(logging.getLogger("work"), seconds=0.0)
    progress.start("epochs")
    progress.advance(text="epoch 1")
    assert caplog.messages == ["epochs: 0", "epoch 1: 1"]
