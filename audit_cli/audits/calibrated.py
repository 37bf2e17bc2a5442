"""A run against a calibration: its references were measured before, and their texts are not here."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from audit_cli import __version__
from audit_cli.audits.heldout import Reference
from audit_cli.audits.journal import Journal
from audit_cli.audits.provenance import UNDECISIVE
from audit_cli.audits.texts import Scan
from audit_cli.checkpoints import LoadedModel
from audit_cli.records import Comparability, FairnessCheck, Row
from audit_cli.safetext import for_terminal
from audit_cli.verdicts.calibration import Calibration, CalibrationError, MadeFor, Scored
from audit_cli.verdicts.comparability import Grade
from audit_cli.verdicts.judge import Kinds
from audit_cli.verdicts.keyed_runs import Keyed, NearMarks
from audit_cli.verdicts.recipes import Recipe

NO_TEXT = "the calibration holds no text"
NONE_LEFT = "the calibration has nothing to compare it with: no text of its length, or all like a candidate"
OTHER_KEY = (
    "the calibration was made under another fingerprint key: candidates that are among its texts cannot be found, and "
    "are compared with themselves"
)
# Settings that decide nothing of a held-out text's score; the recipe has its own name.
APART = UNDECISIVE | {"fdr", "samples", "sample_steps", "recipe"}


def made_for(command: str, recipe: Recipe, model: LoadedModel, settings: Any) -> MadeFor:
    """What decides the scores of held-out texts under these settings, which are settled."""
    plain = {name: value for name, value in asdict(settings).items() if name not in APART}
    info = model.info
    return MadeFor(command, recipe.name, info.weights_sha256, model.network_sha256, info.tokenizer_sha256, plain)


def keyed(journal: Journal) -> Keyed:
    """Hashes under the key of the person whose run it is."""
    return Keyed(journal.derived("calibration"))


def near_marks(calibration: Calibration, journal: Journal) -> NearMarks | None:
    """Finds the calibration's texts that are like a candidate; None under another key than theirs."""
    mine, facts = keyed(journal), calibration.facts
    if facts.key_check != mine.check:
        return None
    return NearMarks(facts.marks, [band.ends for band in facts.bands], mine)


def check_made_for(calibration: Calibration, wanted: MadeFor) -> None:
    """Raise CalibrationError, with all that differs, on a calibration of something else than this run."""
    if other := calibration.other_than(wanted):
        differing = f"was made for something else than this run: {', '.join(other)}"
        do = "give the run the same options, or make another with `uddm-audit calibrate`"
        raise CalibrationError(f"{calibration.name}: {differing}; {do}")


class Calibrated:
    """The references of a run: a group a band of the calibration, and an empty one for texts of no band's length."""

    # Nothing is to be measured.
    rows: tuple[tuple[Row, ...], ...] = ()
    without = NONE_LEFT

    def __init__(self, calibration: Calibration, found: Scan) -> None:
        """`found` has the candidates, and the numbers of the calibration's texts that are like one of them."""
        self._facts, self._found = calibration.facts, found
        self.groups = [_kept(band, found.near) for band in self._facts.bands]
        lengths = [self.group(tokens, 1) for tokens in found.lengths]
        self.in_use = sorted({*lengths, *([self._windows] if found.long else [])} - {len(self.groups)})
        held = self._facts.heldout
        self.given, self.skipped, self.duplicates = held.given, held.skipped, held.duplicates
        self.near_duplicates = len(found.near)
        self.used = len({r.text for group in self.in_use for r in self.groups[group]})
        self.too_short = held.too_short + held.used - self.near_duplicates - self.used

    @property
    def _windows(self) -> int:
        last = len(self.groups) - 1
        return last if self._facts.bands[last].windows else len(self.groups)

    def group(self, tokens: int, windows: int) -> int:
        """The group that a text of so many tokens and windows is compared with."""
        if windows > 1:
            return self._windows
        ends = ((0, 0) if band.windows else band.ends for band in self._facts.bands)
        return next((i for i, (low, high) in enumerate(ends) if low <= tokens <= high), len(self.groups))

    def references(self) -> list[list[Reference]]:
        """By group."""
        return [*self.groups, []]

    @property
    def compared(self) -> list[list[Reference]]:
        """Those of the groups that candidates are compared with."""
        return [self.groups[group] for group in self.in_use]

    @property
    def fewest(self) -> int:
        """The smallest number of references that any text of a band's length is compared with."""
        return min(map(len, self.compared), default=0)

    def sha256(self) -> str:
        """The hash of the pieces of text that were scored."""
        return self._facts.heldout.sha256

    def warnings(self) -> Iterator[str]:
        """What a person should know before anything is measured."""
        of_none = sum(n for tokens, n in self._found.lengths.items() if self.group(tokens, 1) == len(self.groups))
        if self._found.long and self._windows == len(self.groups):
            of_none += self._found.long
        if of_none:
            made = ", ".join(_spans(self._facts.bands))
            yield (
                f"{of_none:,} of {self._found.distinct:,} texts will be inconclusive: the calibration was made for "
                f"texts of {made} tokens (calibrate --lengths)"
            )
        if self._facts.tool != __version__:
            tool = for_terminal(self._facts.tool[:20])
            yield f"the calibration was made by uddm-audit {tool}, and this is {__version__}"


class Unchecked:
    """In the place of `Graded`: nobody can tell whether candidates are of the kind of texts that are not here."""

    def __init__(self, found: Scan, references: int) -> None:
        grade = Comparability.NOT_CHECKABLE
        self.check = FairnessCheck(grade, NO_TEXT, found.distinct, references, None, None, 0, ())

    def passing(self, texts: Iterable[tuple[int, list[Row]]]) -> Iterable[tuple[int, list[Row]]]:
        """The same texts."""
        return texts

    def of(self, positions: np.ndarray, binding: bool) -> Kinds:
        """The grade of every text."""
        return Kinds(np.zeros(len(positions), dtype=np.int64), [Grade(Comparability.NOT_CHECKABLE)], binding)


def _kept(band: Scored, near: set[int]) -> list[Reference]:
    columns = (band.score, band.entropy, band.surprise, band.vanishing_share, band.returned, band.basin, band.texts)
    return [
        Reference(score, entropy, surprise, vanishing, tuple(returned), basin, text=text)
        for score, entropy, surprise, vanishing, returned, basin, text in zip(*columns, strict=True)
        if text not in near
    ]


def _spans(bands: list[Scored]) -> Iterator[str]:
    """The lengths that bands cover, neighbours together, from the shortest up."""
    ends: list[list[int]] = []
    for band in sorted((b for b in bands if not b.windows), key=lambda b: b.shortest):
        if ends and band.shortest == ends[-1][1] + 1:
            ends[-1][1] = band.longest
        else:
            ends.append([band.shortest, band.longest])
    yield from (f"{low}-{high}" if low < high else f"{low}" for low, high in ends)
    yield from (band.said for band in bands if band.windows)
