"""What a track says of a model, against numbers that follow from its law; and which models it takes."""

import math
from dataclasses import replace
from itertools import permutations

import pytest
import torch

from audit_cli.audits.track import Track, TrackSettings
from audit_cli.audits.track_texts import TrackError
from audit_cli.audits.watch import Watch
from audit_cli.checkpoints import load_model
from audit_cli.checkpoints.loaded import Layout, LoadedModel
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.schedules import T_MIN, LogLinear
from audit_cli.records import Candidate, Comparability, ModelInfo
from tests.exact import ExactDenoiser
from tests.short_run import HELDOUT, LEARNED, checkpoints, spoiled

SETTINGS = TrackSettings(samples=8, restarts=2)
STORED = [(1, 2), (2, 1)]
OTHERS = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 2)]


def exact_model(texts=STORED, law=Law.LEAVE_ONE_OUT, sha="w"):
    net = ExactDenoiser(texts, 3, law)
    info = ModelInfo("n", "f", 1, 3, 2, "log-linear", str(law), "r", "raw", sha, "t", None, "b")
    return LoadedModel(net, None, Layout(2), info)


def given(token_ids):
    return [Candidate("t", i, f"t:{i}", token_ids=ids) for i, ids in enumerate(token_ids, start=1)]


def texts(some):
    return [Candidate("t", i, f"t:{i}", text) for i, text in enumerate(some, start=1)]


class Told(Watch):
    def __init__(self):
        self.warnings = []

    def warn(self, message):
        self.warnings.append(message)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("run")
    return home, checkpoints(home)


class TestNumbers:
    def test_a_network_that_knows_two_texts_by_heart(self):
        track = Track(given(STORED), given(OTHERS), SETTINGS)
        row = track.look(exact_model(), "one")
        # Of the 36 ways to pick two of nine texts one has the two smallest surprises.
        assert row.p_value == pytest.approx(1 / 36)
        assert (row.look, row.bound) == (1, pytest.approx(6 * 0.05 / math.pi**2))
        assert row.significant
        # A token of the other text has the odds of a corrupted one; no text has a 0, which stands at 1e-30.
        noise = (1 - float(LogLinear().alpha(T_MIN))) / 3
        other = -math.log(noise / (1 - 2 * noise + noise))
        never = -math.log(1e-30)
        assert row.surprise_text == pytest.approx(0, abs=1e-4)
        # (1, 1) and (2, 2) are wrong twice, (0, 0) is two zeros, four texts have one: beside a zero odds are even.
        known_beside_zero = math.log(2)
        expected = (2 * other + never + 4 * (never + known_beside_zero) / 2) / 7
        assert row.surprise_heldout == pytest.approx(expected, rel=1e-3)
        assert row.gap.value == pytest.approx(row.surprise_heldout - row.surprise_text)
        assert row.entropy_text == pytest.approx(0, abs=1e-3)
        # Beside a 0 both texts are as likely: (0, 0) twice, four others once.
        assert row.entropy_heldout == pytest.approx(3 / 7 * math.log(2), abs=1e-3)
        assert row.recovery_text > 0.7 > row.recovery_heldout
        assert row.recovery_gap.value == pytest.approx(row.recovery_text - row.recovery_heldout)

    def test_a_text_that_the_reference_knows_as_well_is_no_finding(self):
        alone = Track(given(STORED), given(OTHERS), SETTINGS).look(exact_model(), "one")
        track = Track(given(STORED), given(OTHERS), SETTINGS, lambda _: exact_model())
        row = track.look(exact_model(), "one")
        # Nothing is left of any difference: all ranks are tied.
        assert (row.p_value, row.gap.value) == (1.0, pytest.approx(0, abs=1e-9))
        assert row.surprise_heldout == alone.surprise_heldout
        assert track.report().reference_model is not None

    def test_a_reference_that_knows_others_sharpens_the_gap(self):
        track = Track(given(STORED), given(OTHERS), SETTINGS, lambda _: exact_model([(0, 0), (1, 1)]))
        row = track.look(exact_model(), "one")
        alone = Track(given(STORED), given(OTHERS), SETTINGS).look(exact_model(), "one")
        assert row.gap.value > alone.gap.value

    def test_a_posterior_law_is_measured_and_not_tested(self):
        track = Track(given(STORED), given(OTHERS), SETTINGS)
        row = track.look(exact_model(law=Law.POSTERIOR), "one")
        assert row.look == 1 and row.gap is not None
        assert (row.p_value, row.bound, row.significant) == (None, None, False)
        assert "copies its input" in row.untested

    def test_the_bounds_follow_the_plan(self):
        track = Track(given(STORED), given(OTHERS), replace(SETTINGS, looks=4, alpha=0.2))
        assert [track.look(exact_model(), f"{i}").bound for i in range(4)] == [pytest.approx(0.05)] * 4
        with pytest.raises(TrackError, match="fifth: only 4 looks were planned"):
            track.look(exact_model(), "fifth")
        assert len(track.rows) == 4


class TestTraining:
    def test_it_is_found_out_when_a_text_is_learned_and_the_gap_grows(self, run):
        _, folders = run
        track = Track(texts(LEARNED), texts(HELDOUT[:80]), replace(SETTINGS, looks=4))
        rows = [track.look(load_model(folder), folder.name) for folder in folders]
        assert [row.look for row in rows] == [1, 2, 3, 4]
        gaps = [row.gap.value for row in rows]
        assert gaps == sorted(gaps) and gaps[-1] > 0.5
        assert rows[-1].significant and rows[-1].p_value < 1e-6
        report = track.report()
        assert report.first.significant and report.first is next(row for row in rows if row.significant)
        assert (report.texts, report.fairness.grade) == (8, Comparability.COMPARABLE)
        assert report.run.evaluations == sum(row.evaluations for row in rows)

    def test_a_checkpoint_says_the_same_wherever_it_stands_in_the_track(self, run):
        _, folders = run
        model = load_model(folders[2])
        alone = Track(texts(LEARNED), texts(HELDOUT[:80]), SETTINGS).look(model, "x")
        track = Track(texts(LEARNED[::-1]), texts(HELDOUT[:80][::-1]), replace(SETTINGS, batch_size=3))
        track.look(load_model(folders[0]), "before")
        late = track.look(model, "x")
        assert (late.surprise_heldout, late.p_value) == (pytest.approx(alone.surprise_heldout, rel=1e-6), alone.p_value)
        assert late.recovery_text == pytest.approx(alone.recovery_text)
        assert late.entropy.value == pytest.approx(alone.entropy.value)

    def test_text_that_was_not_learned_is_not_called_out(self, run):
        _, folders = run
        track = Track(texts(HELDOUT[:40]), texts(HELDOUT[40:140]), replace(SETTINGS, looks=4))
        assert not any(track.look(load_model(folder), folder.name).significant for folder in folders)

    def test_a_network_that_is_no_number_is_a_row_and_no_look(self, run, tmp_path):
        _, folders = run
        bad = load_model(spoiled(folders[0], tmp_path / "nan", 3e38))
        track = Track(texts(LEARNED), texts(HELDOUT[:40]), replace(SETTINGS, looks=2))
        assert "not a number" in track.look(bad, "nan").reason
        row = track.look(load_model(folders[-1]), "last")
        assert (row.look, row.bound) == (1, 0.025)
        assert [one.look for one in track.report().rows] == [0, 1]

    def test_texts_are_few_enough(self, run):
        _, folders = run
        track = Track(texts(LEARNED), texts(HELDOUT), replace(SETTINGS, texts=20))
        track.look(load_model(folders[0]), "one")
        assert (track.report().texts, track.report().heldout) == (8, 20)


class TestComparison:
    def test_texts_of_another_kind_are_not_tested(self, run):
        _, folders = run
        odd = [f"{a}{b} {b}{a} zq xj kvq" for a, b in permutations("qzxjvk", 2)]
        told = Told()
        track = Track(texts(odd), texts(HELDOUT[:120]), SETTINGS, watch=told)
        row = track.look(load_model(folders[0]), "one")
        assert row.p_value is None and "unlike the held-out text" in row.untested
        assert any("--reference-model" in warning for warning in told.warnings)

    def test_with_a_reference_they_are(self, run):
        _, folders = run
        numbers = ["qz qz zq xj kvq", "xq xq zq xj kvq"]
        track = Track(texts(numbers), texts(HELDOUT[:60]), SETTINGS, lambda _: load_model(folders[0]))
        assert track.look(load_model(folders[1]), "one").p_value is not None

    def test_held_out_text_that_is_a_text_is_left_out(self, run):
        _, folders = run
        told = Told()
        track = Track(texts(LEARNED), texts([*HELDOUT[:40], *LEARNED]), SETTINGS, watch=told)
        track.look(load_model(folders[0]), "one")
        assert track.report().heldout <= 40
        assert any("8 held-out texts are near-duplicates" in warning for warning in told.warnings)

    def test_texts_with_a_token_that_is_never_predicted_are_left_out(self):
        told, model = Told(), exact_model()
        model.denoiser.head = replace(model.denoiser.head, forbidden=(0,))
        model.denoiser.noise_tokens = torch.tensor([1, 2])
        track = Track(given([*STORED, (0, 1)]), given(OTHERS), SETTINGS, watch=told)
        row = track.look(model, "one")
        # Of the held-out ones (1, 1) and (2, 2) have no 0: one of six ways to pick two of four.
        assert row.p_value == pytest.approx(1 / 6)
        assert any(w.startswith("left out: 1 text with a token") for w in told.warnings)
        assert any(w.startswith("left out: 5 held-out texts with a token") for w in told.warnings)

    @pytest.mark.parametrize(
        ("text", "heldout", "says"),
        [
            (["日本"], HELDOUT[:20], "none of 1 texts can be measured"),
            (LEARNED, ["in"], "no held-out text is as long"),
        ],
    )
    def test_what_cannot_be_compared_is_told(self, run, text, heldout, says):
        _, folders = run
        with pytest.raises(TrackError, match=says):
            Track(texts(text), texts(heldout), SETTINGS).look(load_model(folders[0]), "one")

    def test_a_report_without_a_look_is_none(self):
        with pytest.raises(TrackError, match="no checkpoint was measured"):
            Track(given(STORED), given(OTHERS), SETTINGS).report()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"vocab_size": 30}, "have vocabularies of 3 and 30 tokens"),
        ({"tokenizer_sha256": "another"}, "have different tokenizers"),
        ({"max_length": 64}, "take 2 and 64 tokens"),
        ({"parameters": 2}, "have 1 and 2 parameters"),
        ({"weights": "ema"}, "have raw and ema weights, and --weights raw"),
        ({"schedule": "cosine"}, "have the schedules log-linear and cosine"),
        (
            {"law": "posterior", "family": "g"},
            "are of the families f and g, predict the laws leave-one-out and posterior",
        ),
    ],
)
def test_a_model_of_another_training_is_refused_by_name(change, says):
    track = Track(given(STORED), given(OTHERS), SETTINGS)
    model = exact_model()
    track.look(model, "first")
    with pytest.raises(TrackError, match=f"first and second are no checkpoints of one training: they {says}"):
        track.look(replace(model, info=replace(model.info, **change)), "second")
    assert len(track.rows) == 1
