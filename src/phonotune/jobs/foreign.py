"""Stored jobs name this module; what it held lives in :mod:`phonotune.jobs.task_frames`."""

from phonotune.jobs.task_frames import TaskFramesMaker, TaskSettings, frames_from_tasks

__all__ = ["TaskFramesMaker", "TaskSettings", "frames_from_tasks"]
