"""The track of a training for programs: a look at every checkpoint, from any loop."""

from pathlib import Path
from typing import Literal

import torch

from audit_cli.api.measures import load
from audit_cli.api.parts import AnyTexts, AsWarnings, check_reference, check_run, checked, read_again, require
from audit_cli.audits.track import Track, TrackSettings
from audit_cli.checkpoints import CheckpointError, LoadedModel
from audit_cli.records import TrackReport, TrackRow
from audit_cli.reports.files import parse_output, write_track


class Tracker:
    """Looks at the checkpoints of one training, from within any training loop or after it.

        tracker = audit_cli.Tracker(text=["a text", "another"], heldout=["text", "of", "the", "same", "kind"])
        row = tracker.look("runs/step-1000")
        row.p_value, row.significant

    `text` is what may be learned, `heldout` like text that is not trained on; both as `basins` takes them. `looks` is
    how many will be taken, each with the same part of `alpha`; None where nobody knows: then look k has
    6 alpha / (pi k)^2. `reference_model` has not seen the text: a checkpoint from before the training, say. The rest is
    as `uddm-audit track --help` says.

    Raises ValueError on settings that are none, TypeError for texts that are none.
    """

    def __init__(
        self,
        text: AnyTexts,
        heldout: AnyTexts,
        *,
        alpha: float = 0.05,
        looks: int | None = None,
        reference_model: LoadedModel | None = None,
        samples: int = 64,
        texts: int = 512,
        restarts: int = 4,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> None:
        check_run("default", alpha, seed, batch_size)
        for name, value in {"samples": samples, "texts": texts, "restarts": restarts, "looks": looks}.items():
            fine = value is None or (type(value) is int and value >= 1)
            require(fine, f"{name} must be a whole number of at least 1, not {value!r}")
        settings = TrackSettings(samples, texts, restarts, alpha, looks, seed, batch_size)

        def reference(model: LoadedModel) -> LoadedModel | None:
            if reference_model is not None:
                check_reference(model, reference_model)
            return reference_model

        given, held = (read_again(checked(some)) for some in (text, heldout))
        self._track = Track(given, held, settings, None if reference_model is None else reference, AsWarnings())

    @property
    def rows(self) -> list[TrackRow]:
        """A row a checkpoint, in the order of the looks."""
        return list(self._track.rows)

    @property
    def first(self) -> TrackRow | None:
        """The first row at which the text is better known than held-out text; None as long as there is none."""
        return next((row for row in self._track.rows if row.significant), None)

    def look(
        self,
        model: str | Path | LoadedModel,
        name: str | None = None,
        weights: Literal["raw", "ema"] | None = None,
        device: str | torch.device = "cpu",
    ) -> TrackRow:
        """The next row: of a checkpoint's path, which `load` takes with `weights` and `device`, or of a model that
        `load` or `from_network` gave. A row has a `reason`, and is no look, where the checkpoint cannot be loaded or
        its network is no number.

        Raises TrackError on a model of another training, where nothing can be compared, and on a look too many;
        CandidateError for files of texts that cannot be read.
        """
        if isinstance(model, LoadedModel):
            return self._track.look(model, name or model.info.name)
        try:
            found = load(model, weights, device)
        except CheckpointError as error:
            return self.missed(name or str(model), str(error))
        return self._track.look(found, name or str(model))

    def missed(self, name: str, reason: str) -> TrackRow:
        """A row of a checkpoint that cannot be looked at, with the reason; the looks count without it."""
        return self._track.missed(name, reason)

    def report(self) -> TrackReport:
        """All rows, with how they came about. Raises TrackError before the first look."""
        return self._track.report()

    def write(self, path: str | Path) -> list[Path]:
        """Write the table as `-o PATH` does, .csv, .jsonl, .parquet or .md, and its provenance beside it.

        Raises OutputError on a path that names no such table, WriteError where it cannot be written.
        """
        return write_track([parse_output(str(path))], None, self.report(), False)
