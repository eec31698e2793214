"""Fine-tune a foundation model on a dataset: labelled frames in, TrainingDocument out."""

from __future__ import annotations

from functools import partial
from time import monotonic

from phonotune.errors import FramesError, TrainingError, TrainingInterruptedError, WalltimeError
from phonotune.models.adapter import Adapter
from phonotune.models.engines import find_foundation
from phonotune.models.load import load_foundation
from phonotune.progress import Progress
from phonotune.schemas.dataset import DatasetDocument
from phonotune.schemas.training import FoundationRecord, TrainingDocument
from phonotune.settings import get_settings
from phonotune.training.checkpoint import Checkpoint
from phonotune.training.config import FineTuneConfig
from phonotune.training.directory import write_model_directory as write_model_directory
from phonotune.training.interruption import Interruption, watch
from phonotune.training.loop import AfterEpoch, run
from phonotune.training.options import Options
from phonotune.training.prepare import Prepared, prepare
from phonotune.training.results import Member, Training, training_document
from phonotune.training.schedule import best_epoch
from phonotune.training.state import Row, TrainState, start_state


def finetune(
    dataset: DatasetDocument,
    foundation: str | FoundationRecord,
    config: FineTuneConfig,
    device: str = "auto",
    after_epoch: AfterEpoch | None = None,
    progress: Progress | None = None,
    head: str | None = None,
) -> TrainingDocument:
    """Fine-tune a foundation model; the result is never worse on validation than its start.

    The start is the foundation, but for ``scratch``. A killed call resumes from its checkpoint when
    it is made again (settings ``checkpoint_dir`` and ``checkpoint_seconds``), and ends bit-identical
    on the CPU. SIGTERM and the end of a Slurm job's time write a checkpoint first.

    Parameters
    ----------
    dataset
        Frames with a split; a missing label is a mask. Its isolated atoms give atomic energies.
    foundation
        Name, file or record of the foundation model.
    config
        Strategy and options.
    device
        ``"auto"`` takes CUDA where there is one.
    after_epoch
        Called with the row of the history after every epoch, epoch 0 (the start) included.
    progress
        Told what is being done, and after how many of all epochs.
    head
        The head of a multi-head foundation.

    Raises
    ------
    FramesError
        No training or validation frame, or no force label at all.
    StructureError
        An element that the foundation does not know.
    TrainingError
        The start gives no number on the validation frames, or training diverged at once.
    TrainingInterruptedError
        SIGTERM came first; the same call continues.
    WalltimeError
        The end of the walltime came first; the same call continues.
    """
    train, valid = dataset.train_frames(), dataset.valid_frames()
    if not train or not valid:
        raise FramesError(
            f"The dataset has {len(train)} training and {len(valid)} validation frames; at "
            "least one of each is needed. Give another split or more frames."
        )
    for name, frames in (("training", train), ("validation", valid)):
        if all(frame.forces is None for frame in frames):
            raise FramesError(
                f"None of the {len(frames)} {name} frames has forces; phonons cannot be learned "
                "from energies alone. Label them with forces (REF_forces in extxyz)."
            )
    progress, epochs = progress or Progress(), config.root.max_epochs
    progress.start("finding neighbours", epochs * config.root.committee)
    record = find_foundation(foundation, head)
    shared = prepare(
        load_foundation(record, "float64"),
        train,
        valid,
        config.root,
        device,
        progress,
        dataset.isolated_atoms,
    )
    checkpoints = checkpoints_of(dataset, record, config)
    with watch(get_settings().walltime_margin) as interruption:
        members = [
            _train(
                shared,
                options,
                checkpoint,
                interruption,
                partial(_tell, progress, member * epochs, after_epoch),
            )
            for member, (options, checkpoint) in enumerate(
                zip(member_options(config.root), checkpoints, strict=True)
            )
        ]
    training = Training(dataset, record, shared.base, config, shared.refit, str(shared.like.device))
    document = training_document(training, members, progress)
    if all(member.stop.kind != "time" for member in members):
        for checkpoint in checkpoints:
            checkpoint.remove()
    return document


def checkpoints_of(
    dataset: DatasetDocument, foundation: FoundationRecord, config: FineTuneConfig
) -> list[Checkpoint]:
    """Return where each member of this very training keeps its state, whether it exists or not."""
    folder = get_settings().checkpoint_dir
    return [
        Checkpoint.of(folder, foundation.identity, dataset.dataset_hash, options, member)
        for member, options in enumerate(member_options(config.root))
    ]


def member_options(options: Options) -> list[Options]:
    """Return the options of every member of a committee: own seeds, the time shared out."""
    seconds = options.max_seconds and options.max_seconds / options.committee
    return [
        options.model_copy(update={"seed": options.seed + i, "max_seconds": seconds})
        for i in range(options.committee)
    ]


def _train(
    shared: Prepared,
    options: Options,
    checkpoint: Checkpoint,
    interruption: Interruption,
    after_epoch: AfterEpoch,
) -> Member:
    plan, task = shared.task(options)
    state = start_state(plan, options, shared.base, shared.like)
    checkpoint.read_into(state)
    before = max(1, len(state.history))
    stop = run(task, state, options, _KeptEpochs(checkpoint, state, after_epoch), interruption)
    interruption.epochs += len(state.history) - before
    checkpoint.write(state)
    if stop.kind == "interrupted":
        message = (
            f"Training stopped after {len(state.history) - 1} epochs: {stop.reason}. Its checkpoint "
            f"is {checkpoint.path}; the same call continues from there."
        )
        if interruption.near_end:
            raise WalltimeError(message, interruption.epochs)
        raise TrainingInterruptedError(message)
    if stop.kind == "diverged" and best_epoch(state.valid_losses) == 0:
        raise TrainingError(
            f"Training {stop.reason}, and no epoch was better than the start. Lower lr (now "
            f"{options.lr:g}) or set clip_norm, and look for absurd labels."
        )
    names = {name for term in plan.terms for name in term.shapes()}
    kept = {name: tensor for name, tensor in state.best.items() if name in names}
    adapter = Adapter(plan.terms, kept, shared.refit.shifts)
    return Member(plan, adapter, state, stop, options.seed)


def _tell(progress: Progress, earlier: int, after_epoch: AfterEpoch | None, row: Row) -> None:
    """Move the progress on after an epoch; `earlier` ones belong to other members of a committee."""
    error = row.get("valid_forces")
    text = "training" if error is None else f"validation forces {error:.2f} meV/Å"
    progress.advance(earlier + int(row["epoch"]), text)
    if after_epoch is not None:
        after_epoch(row)


class _KeptEpochs:
    """Writes a checkpoint every so often and passes the history's rows on."""

    def __init__(self, checkpoint: Checkpoint, state: TrainState, then: AfterEpoch) -> None:
        self._checkpoint, self._state, self._then = checkpoint, state, then
        self._interval = get_settings().checkpoint_seconds
        self._written = monotonic()

    def __call__(self, row: Row) -> None:
        if monotonic() - self._written >= self._interval:
            self._checkpoint.write(self._state)
            self._written = monotonic()
        self._then(row)
