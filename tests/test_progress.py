"""Progress counts; as lines of a log it stays short."""

import logging

from phonotune.progress import LoggedProgress, Progress, job_progress, told_to


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


def test_a_job_shows_its_progress_behind_that_of_the_command_that_runs_it():
    whole = Recorded()
    whole.start("1 of 3 jobs done, relax trajectories", 3)
    with told_to(whole):
        job = job_progress(logging.getLogger("work"))
        job.start("relaxation", 5)
        job.advance(2, "relaxation step 7")
    assert whole.seen[1:] == [
        (0, 3, "1 of 3 jobs done, relax trajectories: relaxation, 0 of 5"),
        (0, 3, "1 of 3 jobs done, relax trajectories: relaxation step 7, 2 of 5"),
    ]


def test_a_job_that_no_command_runs_logs_its_progress(caplog):
    caplog.set_level(logging.INFO)
    with told_to(Recorded()):
        pass
    job = job_progress(logging.getLogger("work"))
    job.start("relaxation", 5)
    job.advance(5)
    assert caplog.messages == ["relaxation: 0 of 5", "relaxation: 5 of 5"]
