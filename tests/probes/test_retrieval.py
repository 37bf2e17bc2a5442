"""Running a cue to its attractors."""

import pytest
import torch

from audit_cli.diffusion.corruption import slot_starts
from audit_cli.diffusion.samplers import Ancestral, Attractor, Finished
from audit_cli.probes.retrieval import RetrievalProbe
from audit_cli.records import Candidate, Row
from tests.exact import ExactDenoiser

TEXTS = [[0, 1, 2, 3, 0, 1, 2, 3], [3, 3, 3, 3, 2, 2, 2, 2]]
NET = ExactDenoiser(TEXTS, 4)


def row(tokens):
    return Row(Candidate("f", 1, "f:1"), tuple(tokens), 0, len(tokens))


@pytest.mark.parametrize("freeze", [False, True])
def test_the_law_itself_brings_back_the_text_that_the_cue_is_of(freeze):
    probe = RetrievalProbe(16, Finished(Ancestral(8), Attractor(4)), freeze)
    for text in TEXTS:
        (ending,), evaluations = probe.measure(NET, row(text), [0, 5])
        assert ending.row.tokens == tuple(text) and ending.count == 16 and ending.fixed_point
        assert evaluations > 16


def test_what_stands_at_an_unknown_position_plays_no_part():
    probe = RetrievalProbe(32, Ancestral(4), seed=3)
    text = TEXTS[0]
    for other in range(4):
        assert probe.measure(NET, row([other, *text[1:]]), [0]) == probe.measure(NET, row(text), [0])


def test_the_result_does_not_depend_on_the_batch_size_nor_on_how_many_run_together(monkeypatch):
    whole = RetrievalProbe(40, Ancestral(4)).measure(NET, row(TEXTS[0]), [0, 1, 2, 3])
    monkeypatch.setattr("audit_cli.probes.retrieval.trajectories_at_once", lambda *_: 7)
    ends, spent = RetrievalProbe(40, Ancestral(4), batch_size=3).measure(NET, row(TEXTS[0]), [0, 1, 2, 3])
    assert (ends, spent) == whole
    assert sum(ending.count for ending in ends) == 40


def test_frozen_positions_never_change_and_free_ones_may():
    damaged = [1, *TEXTS[1][1:]]
    frozen, _ = RetrievalProbe(16, Attractor(), freeze=True).measure(NET, row(damaged), [3])
    assert {ending.row.tokens[0] for ending in frozen} == {1}
    free, _ = RetrievalProbe(16, Attractor()).measure(NET, row(damaged), [3])
    assert {ending.row.tokens[0] for ending in free} == {3}


def test_a_row_that_argmax_would_change_is_no_fixed_point():
    damaged = [1, *TEXTS[1][1:]]
    # Nothing moves in a run of no iterations: the cue ends as it began, but for what is unknown.
    ends, _ = RetrievalProbe(8, Attractor(max_iterations=0)).measure(NET, row(damaged), [7])
    assert not any(ending.fixed_point for ending in ends)


def test_a_level_corrupts_known_positions_until_so_much_of_the_row_is_noise():
    tokens, slot = torch.tensor([[0] * 400]), torch.zeros(1, 400, dtype=torch.bool)
    slot[0, :100] = True
    probe = RetrievalProbe(level=0.4)
    assert probe.level_of(row([0] * 400), range(100)) == 0.4
    assert RetrievalProbe(level=0.1).level_of(row([0] * 400), range(100)) == 0.25
    times = torch.tensor([0.4], dtype=torch.float64)
    free = torch.ones_like(slot)
    starts = slot_starts(NET, tokens, slot, times, range(50), 0, free, share=(0.4 - 0.25) / 0.75)
    # A redrawn token of four is another one with probability 3/4.
    changed = (starts.tokens != 0).double().mean(0)
    assert changed[:100].mean() == pytest.approx(0.75, abs=0.02)
    assert changed[100:].mean() == pytest.approx(0.2 * 0.75, abs=0.02)
