"""`uddm-audit evaluate`: on texts of which it is known whether the model saw them, which score tells them apart?"""

import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from audit_cli.audits.basins import BasinSettings
from audit_cli.audits.comparison import Texts
from audit_cli.audits.journal import Journal
from audit_cli.audits.law import checked_law
from audit_cli.audits.measuring import Filed
from audit_cli.audits.plan import MOST_ROWS, Plan, peak_bytes, seconds_an_evaluation
from audit_cli.audits.provenance import run_info
from audit_cli.audits.texts import Heldout, References, Scan, distinct_rows, reference_rows, scan
from audit_cli.audits.twins import Slot
from audit_cli.audits.watch import Watch
from audit_cli.checkpoints import CheckpointError, LoadedModel
from audit_cli.diffusion.denoiser import Denoiser, Law
from audit_cli.diffusion.samplers import Ancestral, Attractor
from audit_cli.probes.basins import BasinProbe
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.probes.membership import MembershipProbe
from audit_cli.records import EntropyMeasurement, Evaluation, Evidence, Row, ScoredText, ScoreReport, Skipped
from audit_cli.redaction import Redaction
from audit_cli.statistics.membership import evaluated, roc
from audit_cli.verdicts.lengths import drawn_number
from audit_cli.verdicts.recipes import ALL, Recipe
from audit_cli.verdicts.returns import DECIDING_LEVEL

RATES = (0.1, 0.01, 0.001)
# The other dynamics are run where *returns?* is judged.
OTHER_LEVELS = (DECIDING_LEVEL,)
# Reasons for which texts were left out that are named, the most frequent first.
MOST_REASONS = 3


@dataclass(frozen=True)
class EvaluateSettings:
    """How to measure; see `BasinSettings`. Every text is also restored by the other dynamics, where `others`."""

    levels: tuple[float, ...] = BasinSettings.levels
    restarts: int = BasinSettings.restarts
    steps: int | None = None
    others: bool = True
    seed: int = 0
    batch_size: int | None = None

    def basins(self, **changed: Any) -> BasinSettings:
        """The same as settings of `basins`."""
        plain: dict[str, Any] = {
            "levels": self.levels, "restarts": self.restarts, "steps": self.steps, "seed": self.seed,
            "batch_size": self.batch_size,
        }  # fmt: skip
        return BasinSettings(**plain | changed)


@dataclass(frozen=True)
class MembershipTask:
    """All scores of a text as a `Task`."""

    model: LoadedModel
    settings: EvaluateSettings
    reference: LoadedModel | None = None

    command = "evaluate"
    record = Evidence
    recipe = ALL[0]

    @property
    def probe(self) -> MembershipProbe:
        """The probe of the settings."""
        mine = self.settings.basins().probe(self.model)
        others: tuple[BasinProbe, ...] = ()
        if self.settings.others and self.model.denoiser.law is Law.LEAVE_ONE_OUT:
            names = ((Ancestral.name, self.settings.steps), (Attractor.name, None))
            others = tuple(
                self.settings.basins(levels=OTHER_LEVELS, sampler=name, steps=steps).probe(self.model)
                for name, steps in names
            )
        reference = self.reference
        return MembershipProbe(
            mine,
            others,
            None if reference is None else reference.denoiser,
            self._compressed,
            self.settings.seed,
            self.settings.batch_size,
        )

    def _compressed(self, row: Row) -> int:
        """Bytes to which zlib compresses the row's own text, or its token ids where no tokenizer spells them."""
        spelled = self.model.tokenizer.decode(row.own) if self.model.tokenizer else repr(row.own)
        return len(zlib.compress(spelled.encode("utf-8", "surrogatepass"), 9))

    def evaluations(self, row: Row) -> int:
        """See `Task`."""
        return self.probe.evaluations()

    def measure(self, denoiser: Denoiser, rows: list[Row]) -> Iterator[Evidence | Skipped]:
        """See `Task`."""
        return self.probe.measure(denoiser, rows)

    def of_references(self) -> "MembershipTask":
        """See `Task`."""
        return self

    def evidence(self, measured: Evidence) -> Evidence:
        """See `Task`."""
        return measured

    def entropy(self, measured: Evidence) -> EntropyMeasurement:
        """See `Task`."""
        return measured.entropy

    def entropy_probe(self) -> EntropyProbe:
        """See `Task`."""
        return self.probe.basins.entropy

    def returns(self, measured: Evidence) -> bool | None:
        """See `Task`."""
        return None

    def described(self, measured: Evidence) -> dict[str, Any]:
        """See `Task`."""
        return {}


@dataclass
class Evaluator:
    """An evaluation from end to end. `members` the model has seen, `heldout` it has not; both may be read again.

    Raises CheckpointError on a reference model that cannot be given the model's rows.
    """

    model: LoadedModel
    members: Texts
    heldout: Texts
    settings: EvaluateSettings
    reference: LoadedModel | None = None
    watch: Watch = field(default_factory=Watch)
    journal: Journal = field(default_factory=lambda: Journal(None, b""))

    def __post_init__(self) -> None:
        self.task = MembershipTask(self.model, self.settings, self.reference)
        self.begun = time.monotonic()
        if self.reference is not None and not self._same_rows(self.reference):
            named = f"{self.reference.info.name}: the reference model lays out its rows otherwise than"
            raise CheckpointError(f"{named} {self.model.info.name}, and evaluate gives both the same rows")

    def _same_rows(self, reference: LoadedModel) -> bool:
        """Whether a row of the model is one of the reference's too; a longer one takes the model's unpadded rows."""
        mine, other = self.model.layout, reference.layout
        longer = mine.pad_id is None and other.max_length > mine.max_length
        return mine == (replace(other, max_length=mine.max_length) if longer else other)

    def plan(self) -> Plan:
        """What it would take, from measuring a few members. Raises ValueError as `report`."""
        _, found, _, mine, held = self._read()
        return Plan(
            given=found.given,
            distinct=found.distinct,
            duplicates=found.duplicates,
            skipped=found.skipped,
            windows=len(mine),
            heldout=len(held),
            text_evaluations=sum(self.task.evaluations(row) for row in mine),
            heldout_evaluations=sum(self.task.evaluations(row) for row in held),
            twin_evaluations=0,
            seconds_an_evaluation=seconds_an_evaluation(self.model, self.task, self.settings, mine[:MOST_ROWS]),
            peak_bytes=peak_bytes(),
            warnings=(),
        )

    def _read(self) -> tuple[Heldout, Scan, References, list[Row], list[Row]]:
        """Both kinds of texts, and the rows of each that are measured. Raises ValueError where there are none."""
        self.watch.stage("reading", 0)
        heldout = Heldout.read(self.model, self.heldout)
        found = scan(self.model, self.members, heldout, self.journal, Slot())
        references = reference_rows(self.model, found, heldout)
        held = [row for group in references.rows for row in group]
        mine = list(self._one_row_each())
        unread = Counter(entry.reason for entry in self.journal.texts() if entry.reason)
        if not mine:
            raise ValueError(f"no member can be measured: {_reasons(unread)}")
        if not held:
            raise ValueError(_nothing_held_out(heldout, references, found))
        for count, what in (
            (found.skipped, f"members skipped: {_reasons(unread)}"),
            (heldout.skipped, "held-out texts skipped: they have no tokens of the model's, or no room"),
        ):
            if count:
                self.watch.warn(f"{count:,} {what}")
        return heldout, found, references, mine, held

    def report(self, redaction: Redaction) -> Evaluation:
        """Measure what is not in the journal, and hold the scores side by side.

        Raises ValueError, with the reason, where there are no members or no held-out texts that can be measured.
        """
        heldout, found, references, mine, held = self._read()
        law = checked_law(self.model, self.settings.seed, found.law_rows)
        filed = Filed(self.journal, self.task, None)
        spent = 0
        texts: list[ScoredText] = []
        recipes = self._recipes()
        skipped = found.skipped + heldout.skipped
        for kind, rows, name in (("row", mine, "members"), ("reference", held, "held-out texts")):
            cost = sum(self.task.evaluations(row) for row in rows)
            filed.measure(self.model, rows, kind, self.watch, cost, name)
            entries = [self.journal.get(self.journal.row_key(kind, row)) for row in rows]
            if failed := Counter(entry[0] for entry in entries if entry and entry[0]):
                if failed.total() == len(rows):
                    raise ValueError(f"none of the {len(rows):,} {name} could be measured: {_reasons(failed)}")
                self.watch.warn(f"{failed.total():,} {name} skipped: {_reasons(failed)}")
                skipped += failed.total()
            for row, entry in zip(rows, entries, strict=True):
                if entry is None or entry[0]:
                    continue
                evidence, _ = filed.decode(entry[1])
                spent += evidence.evaluations
                scores = tuple(recipe.of(evidence) for recipe in recipes)
                print_of = redaction.fingerprint(row.candidate.text, row.own)
                texts.append(ScoredText(row.candidate, print_of, kind == "row", len(row.own), scores))
        plain = {"heldout_sha256": references.sha256(), "members": len(mine), "reference_model_sha256": self._other()}
        seconds = time.monotonic() - self.begun
        return Evaluation(
            model=self.model.info,
            law=law,
            run=run_info("evaluate", self.settings, self.model, plain, seconds, spent),
            reports=tuple(self._compared(recipes, texts)),
            recipes=tuple(recipe.name for recipe in recipes),
            texts=tuple(texts),
            members=sum(text.member for text in texts),
            others=sum(not text.member for text in texts),
            skipped=skipped,
            duplicates=found.duplicates + heldout.duplicates,
            near_duplicates=references.near_duplicates,
            too_short=references.too_short,
            reference_model=None if self.reference is None else self.reference.info,
        )

    def _other(self) -> str | None:
        return None if self.reference is None else self.reference.info.weights_sha256

    def _one_row_each(self) -> Iterator[Row]:
        """Of a long text one window, drawn by its tokens, as of held-out texts: windows of one text are no
        independent members."""
        for _, rows in distinct_rows(self.model, self.members, self.journal):
            yield rows[drawn_number(rows[0].own, len(rows))]

    def _recipes(self) -> list[Recipe]:
        """Those scores that mean something under the network's law."""
        return [r for r in ALL if not r.uses_law or self.model.denoiser.law is Law.LEAVE_ONE_OUT]

    def _compared(self, recipes: list[Recipe], texts: list[ScoredText]) -> Iterator[ScoreReport]:
        table = np.array([text.scores for text in texts], dtype=np.float64).reshape(len(texts), len(recipes))
        member = np.array([text.member for text in texts], dtype=bool)
        for k, recipe in enumerate(recipes):
            scores = table[:, k]
            if np.isnan(scores).any() or member.all() or not member.any():
                continue
            area, points = evaluated(scores[member], scores[~member], RATES, self.settings.seed)
            false, true = roc(scores[member], scores[~member])
            yield ScoreReport(recipe.name, recipe.told, area, points, tuple(false.tolist()), tuple(true.tolist()))


def _reasons(counts: Counter[str]) -> str:
    """Reasons, the most frequent first; of many some."""
    told = "; ".join(reason for reason, _ in counts.most_common(MOST_REASONS))
    return told + (f"; {len(counts) - MOST_REASONS:,} more reasons" if len(counts) > MOST_REASONS else "")


def _nothing_held_out(heldout: Heldout, references: References, found: Scan) -> str:
    """Why there is no held-out text to compare members with."""
    if not heldout.texts:
        return "no held-out text can be measured: all were skipped"
    why = (
        (references.near_duplicates, "like a member"),
        (references.too_short, f"shorter than every member, the shortest of {min(found.lengths, default=0):,} tokens"),
    )
    told = ", ".join(f"{count:,} {reason}" for count, reason in why if count)
    return f"no held-out text can be compared with the members: of {len(heldout.texts):,}, {told}"
