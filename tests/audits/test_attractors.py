"""Texts as attractors: windows, layouts, duplicates, groups, and what a stopped run keeps."""

import dataclasses
import math

import pytest

import audit_cli
from audit_cli.audits import AttractorSettings, Journal, Watch, measure_attractors
from audit_cli.checkpoints.loaded import Layout, LoadedModel, packed_layout
from audit_cli.diffusion.denoiser import Law
from audit_cli.probes.attractors import AttractorProbe
from audit_cli.records import Candidate, ModelInfo, Status
from tests.exact import ExactDenoiser

SEP = 3
STORED = ["Who fed thee in the wilderness", "Son of man, write thee the name", "Because the carnal mind is"]


def exact(texts, vocab=6, law=Law.LEAVE_ONE_OUT, layout=None):
    length = len(texts[0])
    info = ModelInfo("n", "f", 1, vocab, length, "log-linear", str(law), "r", "raw", "w", "t", "s", "b")
    return LoadedModel(ExactDenoiser(texts, vocab, law), None, layout or Layout(length), info)


def tokens(*ids):
    return Candidate(token_ids=ids)


def test_stored_texts_are_deep_and_others_are_no_fixed_points(memorizing, generalizing):
    held = ["He shall judge the poor of the", "And the angel answering said", "No doubt but ye are the people"]
    found = audit_cli.attractors(memorizing, STORED, heldout=held, restarts=8)
    assert [r.candidate.id for r in found.results] == ["text:1", "text:2", "text:3"]
    assert all(r.measurement.fixed_point and r.measurement.survived >= 15 for r in found.results)
    assert all(r.measurement.energy_mean < 0.05 and r.measurement.smallest_margin > 2 for r in found.results)
    assert (found.given.fixed_points, found.heldout.fixed_points, found.heldout.survived) == (3, 0, None)
    assert found.heldout.smallest_margin < 0 and found.heldout.energy_mean > 3
    assert audit_cli.attractors(generalizing, STORED).given.fixed_points == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.results[0].tokens = 0


def test_what_returned_is_told_with_its_interval(memorizing):
    (result,) = audit_cli.attractors(memorizing, STORED[1:2]).results
    m = result.measurement
    share = m.returned(m.survived) / 16
    assert 0.5 <= share < 1 and m.returned(m.survived + 1) < 8
    # Wilson's interval, by the formula.
    z, n = 1.959963984540054, 16
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    expected = [share, (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)]
    assert dataclasses.astuple(result.returned) == pytest.approx(expected)


def test_duplicates_are_measured_once_and_count_once(memorizing, monkeypatch):
    rows = []
    measure = AttractorProbe.measure
    monkeypatch.setattr(
        AttractorProbe, "measure", lambda self, net, some: measure(self, net, rows.extend(some) or some)
    )
    found = audit_cli.attractors(memorizing, [STORED[0], "god", STORED[0]], heldout=["god", "god"], restarts=4)
    first, _, again = found.results
    assert (again.status, again.duplicate_of, again.measurement) == (Status.DUPLICATE, "text:1", first.measurement)
    assert (found.given.given, found.given.measured, found.given.duplicates, found.given.fixed_points) == (3, 2, 1, 1)
    assert (found.heldout.measured, found.heldout.duplicates) == (1, 1)
    # The held-out text is one of the texts, and what one has measured, all have.
    assert len(rows) == 2


def test_of_a_long_text_the_deepest_window_is_shown():
    model = exact([(0, 1, 2, 4), (5, 5, 1, 0)])
    (long, short) = audit_cli.attractors(model, [tokens(2, 2, 2, 2, 0, 1, 2, 4, 3, 3), tokens(0, 1, 2, 4)]).results
    assert (long.tokens, long.windows, long.window_offset) == (10, 3, 4)
    assert long.measurement == short.measurement and long.measurement.fixed_point


def test_in_packed_rows_the_separators_stand_still_and_are_no_tokens_of_the_text():
    layout = packed_layout(6, SEP)
    model = exact([(SEP, 1, 2, 4, 5, SEP), (SEP, 2, 2, 1, 1, SEP)], layout=layout)
    row = model.layout.place(Candidate(), (1, 2, 4, 5))
    assert row.tokens == (SEP, 1, 2, 4, 5, SEP)
    seen, hidden = [], model.denoiser.hidden
    model.denoiser.hidden = lambda tokens, t, context=None: (seen.append(tokens.clone()), hidden(tokens, t))[1]
    (measured,) = AttractorProbe().measure(model.denoiser, [row])
    assert measured.tokens == 4 and measured.fixed_point
    assert {ids for batch in seen for ids in batch[:, [0, 5]].flatten().tolist()} == {SEP}


def test_a_prompt_stands_before_the_text_and_is_never_flipped(memorizing):
    line = memorizing.tokenizer.encode(STORED[0])
    rest = line[len("Who fed thee") :]
    given = [Candidate(prompt="Who fed thee", token_ids=rest), Candidate(token_ids=rest)]
    with_prompt, alone = audit_cli.attractors(memorizing, given).results
    assert with_prompt.tokens == alone.tokens == len(rest)
    # The beginning of the stored line makes the rest of it the most probable one.
    assert with_prompt.measurement.fixed_point and with_prompt.measurement.survived == len(rest)
    assert not alone.measurement.fixed_point and with_prompt.measurement.energy < alone.measurement.energy


def test_what_cannot_be_measured_has_its_reason(memorizing):
    found = audit_cli.attractors(memorizing, ["日本", "", STORED[0]], restarts=2)
    assert [r.status for r in found.results] == [Status.SKIPPED, Status.SKIPPED, Status.MEASURED]
    assert "not in the model's vocabulary" in found.results[0].skip_reason
    none = audit_cli.attractors(memorizing, ["日本"]).given
    assert (none.measured, none.skipped, none.fixed_share, none.energy_mean, none.survived) == (0, 1, None, None, None)


def test_medians_are_of_a_text_and_what_is_no_fixed_point_stands_below():
    texts = [(0,) * 8, (1,) * 8]
    model = exact(texts, vocab=2)
    fixed, loose = tokens(*texts[0]), [tokens(0, 1, 0, 1, 0, 1, 0, 1), tokens(1, 0, 1, 0, 1, 0, 1, 0)]
    found = audit_cli.attractors(model, [fixed, tokens(*texts[1]), loose[0]]).given
    assert (found.fixed_points, found.survived, found.survived_share) == (2, 3, 3 / 8)
    found = audit_cli.attractors(model, [fixed, *loose]).given
    assert (found.fixed_points, found.survived, found.survived_share) == (1, None, None)
    # Of two the lower one.
    assert audit_cli.attractors(model, [fixed, loose[0]]).given.survived is None


def test_a_posterior_law_is_refused_and_so_are_settings_that_fit_nothing(memorizing):
    with pytest.raises(audit_cli.UnauditableModel, match="posterior law, under which every text is a fixed point"):
        audit_cli.attractors(exact([(1, 2)], law=Law.POSTERIOR), [tokens(1, 2)])
    for wrong in ({"restarts": 0}, {"seed": -1}, {"batch_size": 0}):
        with pytest.raises(ValueError):
            audit_cli.attractors(memorizing, STORED, **wrong)
    with pytest.raises(TypeError):
        audit_cli.attractors(memorizing, STORED[0])


def test_a_stopped_run_goes_on_where_it_was_stopped(memorizing, redaction, tmp_path, monkeypatch):
    monkeypatch.setattr("audit_cli.audits.attractors.FIRST_PORTION", 1)
    monkeypatch.setattr("audit_cli.audits.attractors.LARGEST_PORTION", 1)
    texts = [Candidate("f", i, f"f:{i}", text) for i, text in enumerate(STORED, start=1)]

    def run(journal):
        found = measure_attractors(memorizing, texts, None, AttractorSettings(4), redaction, Watch(), journal)
        return list(found.results), found.given, found.run.evaluations

    whole = run(Journal(None, redaction.key))
    rows, measure = [], AttractorProbe.measure

    def stopping(self, net, some):
        rows.extend(some)
        if len(rows) == 2:
            raise KeyboardInterrupt
        return measure(self, net, some)

    monkeypatch.setattr(AttractorProbe, "measure", stopping)
    path = tmp_path / "o.csv.part"
    first = Journal(path, redaction.key)
    with pytest.raises(KeyboardInterrupt):
        run(first)
    first.close()
    second = Journal(path, redaction.key)
    assert second.count() == 1
    assert run(second) == whole and len(rows) == 4
