"""What a person sees of a fit on stderr: a bar with loss and time left, a line per epoch."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.data import LabelledData
from training.epochs import Epoch
from training.fit_config import FitConfig

#: Weight of the newest step in the shown loss, about the mean of the last 50 steps.
LOSS_SMOOTHING = 0.02


class FitProgress:
    """A progress bar; `step` and `epoch` are the callbacks that `training.fit.fit` takes."""

    def __init__(self, data: LabelledData, config: FitConfig) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task("fit", total=None, epoch=1, loss=0.0)
        self._loss: float | None = None
        self._print(
            f"fitting {config.base} on {len(data.train.texts):,} rows of {data.name}, "
            f"{len(data.labels)} labels; validation {len(data.validation.texts):,} rows"
        )
        for note in data.notes:
            self._print(f"note: {note}")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
        if kind is KeyboardInterrupt:
            self._print("broken off: the same command with --resume goes on from the last save")

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Move the bar by one training step."""
        before = loss if self._loss is None else self._loss
        self._loss = before + LOSS_SMOOTHING * (loss - before)
        self._progress.update(self._task, completed=step, total=steps, epoch=epoch, loss=self._loss)

    def epoch(self, epoch: Epoch) -> None:
        """Print one finished epoch as a line that stays."""
        self._print(
            f"epoch {epoch.number}: loss {epoch.loss:.4f}, validation accuracy "
            f"{epoch.validation.accuracy:.4f}, macro-F1 {epoch.validation.macro_f1:.4f}, "
            f"{epoch.seconds:.0f} s"
        )

    def _print(self, line: str) -> None:
        # Names may hold square brackets, which are no markup here.
        self._console.print(line, markup=False)
