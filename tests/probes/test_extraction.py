"""What comes back in a slot, under laws that are known exactly."""

from dataclasses import replace

import pytest
import torch
from scipy import stats

from audit_cli.diffusion.samplers import Ancestral
from audit_cli.probes import batching
from audit_cli.probes.basins import BasinProbe
from audit_cli.probes.extraction import ExtractionProbe
from audit_cli.records import Candidate, Row
from audit_cli.statistics.edit_distance import edit_similarity
from tests.exact import ExactDenoiser

MEMORY = [0, 1, 2, 3, 4, 0]


def rows(*texts):
    return [Row(Candidate("f", i, f"f:{i}"), tuple(t), 0, len(t)) for i, t in enumerate(texts)]


def test_a_lone_memory_is_given_back_every_time_and_another_text_never():
    net = ExactDenoiser([MEMORY], 5)
    known, other = ExtractionProbe(restarts=16).measure(net, rows(MEMORY, [0, 1, 4, 4, 4, 0]), [(2, 3), (2, 3)])
    assert (known.exact, known.distinct, known.most_frequent, known.rank) == (16, 1, 16, 1)
    assert known.recovered_share == 1 and known.filling == tuple(MEMORY)
    # The template is the memory's: what comes back is the memory's secret and not that of this text.
    assert (other.exact, other.rank, other.recovered_share, other.filling) == (0, None, 0, tuple(MEMORY))


def test_two_secrets_of_one_template_come_back_alike():
    texts = [[0, 1, 2, 3], [0, 4, 4, 3]]
    net = ExactDenoiser(texts, 5)
    one, other = ExtractionProbe(restarts=400, sampler=Ancestral(64)).measure(net, rows(*texts), [(1, 2), (1, 2)])
    # The same numbers for both: the fillings are the template's, whichever text they are held against.
    assert one.filling == other.filling and one.distinct == other.distinct
    assert one.exact + other.exact >= 360
    # Even odds. p below 1e-4 is the false-alarm rate; fixed seed.
    assert stats.binomtest(one.exact, one.exact + other.exact).pvalue > 1e-4
    assert sorted((one.rank, other.rank)) == [1, 2]


def test_ties_count_against_the_secret():
    class Blank(ExactDenoiser):
        def hidden(self, tokens, t, context=None):
            return torch.zeros(*tokens.shape, self.vocab_size)

    net = Blank([[0, 0]], 2)
    found = [next(iter(ExtractionProbe(restarts=2, seed=s).measure(net, rows([0, 0]), [(1,)]))) for s in range(8)]
    tied = [f for f in found if f.distinct == 2]
    assert tied and all((f.exact, f.most_frequent, f.rank) == (1, 1, 2) for f in tied)


@pytest.mark.parametrize("tokens", [1, 20, 1 << 17])
def test_company_order_batches_and_portions_change_nothing(monkeypatch, tokens):
    net = ExactDenoiser([MEMORY, [0, 1, 1, 1, 1, 0], [3, 3, 3, 2, 2, 2]], 5)
    texts, slots = [MEMORY, [1, 1], [0, 1, 3, 3, 1, 0]], [(2, 3), (0,), (2, 3, 4)]
    probe = ExtractionProbe(restarts=7)
    whole = list(probe.measure(net, rows(*texts), slots))
    monkeypatch.setitem(batching.TRAJECTORY_TOKENS, "cpu", tokens)
    assert list(probe.measure(net, rows(*texts), slots)) == whole
    assert list(replace(probe, batch_size=2).measure(net, rows(*reversed(texts)), slots[::-1])) == whole[::-1]
    (alone,) = probe.measure(net, rows(texts[2]), slots[2:])
    assert alone == whole[2]


def test_layout_and_template_stay():
    net = ExactDenoiser([[0, 1, 2, 3, 4, 4]], 5)
    row = Row(Candidate("f", 1, "f:1"), (4, 1, 0, 3, 2, 4), 1, 5)
    (found,) = ExtractionProbe(restarts=8).measure(net, [row], [(2, 3)])
    assert found.filling[0] == 1 and found.filling[3] == 2


def test_edit_similarity_is_measured_at_the_deciding_level_alone():
    texts = [[0, 1, 2, 3, 4, 0], [1, 1, 2, 2, 3, 3]]
    net = ExactDenoiser(texts, 5)
    probe = BasinProbe((0.3, 0.9), 1, restarts=12)
    (m,) = probe.measure(net, rows(texts[0]))
    assert m.levels[0].edit_similarities == () and len(m.deciding.edit_similarities) == 12
    assert sum(s == 1 for s in m.deciding.edit_similarities) == m.deciding.exact
    # What comes back is one of the two texts, mostly.
    assert edit_similarity(*texts) in m.deciding.edit_similarities
    (extended,) = probe.extend(net, rows(texts[0]), [m], 5)
    assert extended.deciding.edit_similarities[:12] == m.deciding.edit_similarities
    assert len(extended.deciding.edit_similarities) == 17
