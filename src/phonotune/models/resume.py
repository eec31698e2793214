"""Long evaluations that go on where a kill or the end of the walltime stopped them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phonotune.errors import WalltimeError
from phonotune.models.committee import CommitteeEvaluator
from phonotune.models.remember import RememberingEvaluator, never
from phonotune.ports import Evaluation, Evaluator
from phonotune.schemas.base import Source, hash_json, package_versions, structure_hash
from phonotune.settings import get_settings

if TYPE_CHECKING:
    from pymatgen.core import Structure


@contextmanager
def resuming(
    evaluator: Evaluator, source: Source, ended: Callable[[], bool] = never
) -> Iterator[Evaluator]:
    """Give an evaluator whose answers survive a kill while the block runs.

    The answers of every model are kept in ``checkpoint_dir``, in a file named by the model and by the
    structures that it is asked first: a relaxation or a chain of plans asks the same when it is made
    again, and nothing is evaluated twice. Nothing is written for work shorter than
    ``checkpoint_seconds``. The files go when the block ends without an error.

    Parameters
    ----------
    evaluator
        A model or a committee; what is given is one, too.
    source
        Who it is.
    ended
        Whether the walltime is nearly over, asked between two batches: then the evaluator raises
        :class:`phonotune.errors.WalltimeError`.
    """
    committee = evaluator if isinstance(evaluator, CommitteeEvaluator) else None
    models = (evaluator,) if committee is None else committee.members
    kept = [_Resuming(model, source, number, ended) for number, model in enumerate(models)]
    try:
        yield kept[0] if committee is None else _ResumingCommittee(committee, kept)
        for model in kept:
            model.forget()
    except WalltimeError as error:
        for model in kept:
            model.write()
        error.progress = sum(model.saved for model in kept)
        raise
    finally:
        for model in kept:
            model.close()


class _Resuming:
    """One model; its file is named when it is first asked."""

    def __init__(
        self, evaluator: Evaluator, source: Source, member: int, ended: Callable[[], bool]
    ) -> None:
        self._evaluator, self._ended = evaluator, ended
        self._name = [source.evaluator, source.model_id, source.dtype, member]
        self._remembering: RememberingEvaluator | None = None

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Evaluate structures, in order."""
        if not structures:
            return []
        if self._remembering is None:
            interval = get_settings().checkpoint_seconds
            path = self._path(structures)
            self._remembering = RememberingEvaluator(self._evaluator, path, interval, self._ended)
        return self._remembering(structures)

    @property
    def saved(self) -> int:
        """Answers of the model that are on the disk."""
        return 0 if self._remembering is None else self._remembering.saved

    def write(self) -> None:
        """Bring every answer so far to the disk."""
        if self._remembering is not None:
            self._remembering.write()

    def forget(self) -> None:
        """Remove the file."""
        if self._remembering is not None:
            self._remembering.forget()

    def close(self) -> None:
        """Let the file go."""
        if self._remembering is not None:
            self._remembering.__exit__()

    def _path(self, structures: Sequence[Structure]) -> Path:
        first = [structure_hash(structure) for structure in structures]
        key = hash_json(["answers", *self._name, package_versions(), first])[:32]
        return get_settings().checkpoint_dir.expanduser() / f"{key}.answers"


class _ResumingCommittee(CommitteeEvaluator):
    """A committee whose members' answers survive."""

    def __init__(self, committee: CommitteeEvaluator, kept: Sequence[_Resuming]) -> None:
        super().__init__(committee.members)
        self._kept = kept

    def members_answers(self, structures: Sequence[Structure]) -> list[list[Evaluation]]:
        """Return the answers of each member."""
        return [member(structures) for member in self._kept]
