"""A callback for transformers' `Trainer`. Imported only where it is used: transformers takes its time."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from audit_cli.api.measures import load as load_path
from audit_cli.api.parts import AnyTexts, AsWarnings
from audit_cli.api.track import Tracker
from audit_cli.audits.track_texts import TrackError
from audit_cli.candidates import CandidateError
from audit_cli.checkpoints import CheckpointError, LoadedModel
from audit_cli.records import TrackRow
from audit_cli.reports.files import OutputError
from audit_cli.reports.track import told

logger = logging.getLogger(__name__)
# Whose messages say what a person can do, and hold no text.
OURS = (TrackError, CandidateError, CheckpointError, OutputError, FloatingPointError)


class TrackCallback(TrainerCallback):
    """Looks at every checkpoint that a `Trainer` saves; `tracker` is the `Tracker` with the rows.

        Trainer(..., callbacks=[audit_cli.TrackCallback(text, heldout)])

    `load` makes a model of the folder `output_dir/checkpoint-N`, by default `audit_cli.load`, on the device of the
    training; `from_network` helps where the folder holds no more than tensors. `output` is a table that is written
    after every look. With `stop` the training ends at the first checkpoint that knows the text better than held-out
    text. `more` goes to `Tracker`.

    Where many processes train one network, one of them looks. Nothing that goes wrong in a look ends a training: it is
    a row with its reason, and a warning.
    """

    def __init__(
        self,
        text: AnyTexts,
        heldout: AnyTexts,
        *,
        load: Callable[[Path], LoadedModel] | None = None,
        output: str | Path | None = None,
        stop: bool = False,
        **more: Any,
    ) -> None:
        self.tracker = Tracker(text, heldout, **more)
        self._load, self._output, self._stop = load, output, stop

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Called by the Trainer when the checkpoint is written."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir or ".") / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            row = self._row(folder, args)
            if row.significant and row is self.tracker.first:
                AsWarnings().warn(told(row))
                control.should_training_stop |= self._stop
            elif row.reason:
                AsWarnings().warn(told(row))
            else:
                logger.info(told(row))
        return control

    def _row(self, folder: Path, args: TrainingArguments) -> TrackRow:
        tracker = self.tracker
        devices = [args.device] if args.device.type == "cuda" else []
        try:
            # Who makes a network draws its first weights, and the training would go on with other random numbers.
            with torch.random.fork_rng(devices):
                model = load_path(folder, device=args.device) if self._load is None else self._load(folder)
                row = tracker.look(model, folder.name)
        except Exception as error:  # an audit is no reason to lose a training
            reason = str(error) if isinstance(error, OURS) else f"unforeseen {type(error).__name__}"
            if isinstance(error, CheckpointError) and self._load is None:
                reason += "; `load` takes a function that makes a model of such a folder"
            logger.debug("a look failed", exc_info=True)
            return tracker.missed(folder.name, reason)
        try:
            if self._output is not None:
                tracker.write(self._output)
        except OutputError as error:
            AsWarnings().warn(str(error))
        return row
