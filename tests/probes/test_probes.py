from dataclasses import replace

import numpy as np
import pytest
import torch

from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.samplers import Ancestral
from audit_cli.diffusion.schedules import time_at_level
from audit_cli.probes import batching
from audit_cli.probes.basins import BasinProbe
from audit_cli.probes.entropy import EntropyProbe, longest_run
from audit_cli.probes.law_check import law_of, random_contrast, text_contrast
from audit_cli.probes.samples import generate
from audit_cli.records import Candidate, LawCheck, Row, Skipped
from tests.exact import ExactDenoiser

TEXTS = [[0, 1, 2, 3, 4, 0], [1, 1, 2, 2, 3, 3], [4, 3, 2, 1, 0, 4], [0, 0, 0, 0, 0, 1]]


def check_law(net, texts=()):
    return law_of([random_contrast(net, 0), *([text_contrast(net, 0, texts)] if texts else [])])


def rows(*texts, stop=None):
    return [Row(Candidate("f", i, f"f:{i}"), tuple(t), 0, stop or len(t)) for i, t in enumerate(texts)]


def test_entropy_and_surprise_are_those_of_the_exact_law():
    # Two texts that differ in one place: given all others, that token is one of two at even odds, the rest certain.
    net = ExactDenoiser([[0, 1, 2, 3], [0, 1, 2, 4]], 5)
    (m,) = EntropyProbe(per_token=True).measure(net, rows([0, 1, 2, 3]))
    entropies = [t.entropy for t in m.per_token]
    assert entropies[:3] == pytest.approx([0, 0, 0], abs=1e-3)
    assert entropies[3] == pytest.approx(np.log(2), abs=1e-6)
    assert m.per_token[3].surprise == pytest.approx(np.log(2), abs=1e-6)
    assert m.entropy_mean == pytest.approx(np.log(2) / 4, abs=1e-3)
    assert m.surprise_max == pytest.approx(np.log(2), abs=1e-6)
    assert m.vanishing_share == 0.75
    assert m.longest_sure_run == 3
    assert m.law == "leave-one-out"


def test_the_margin_is_against_the_best_other_token():
    net = ExactDenoiser([[0, 1], [0, 2], [0, 2]], 3)
    known, other = EntropyProbe(per_token=True).measure(net, rows([0, 2], [0, 1]))
    assert known.per_token[1].margin == pytest.approx(np.log(2), abs=1e-4)
    assert other.per_token[1].margin == pytest.approx(-np.log(2), abs=1e-4)
    assert (known.per_token[1].rank, other.per_token[1].rank) == (0, 1)


def test_a_prefix_says_less_than_all_other_tokens():
    net = ExactDenoiser(TEXTS, 5)
    whole, prefix = (next(EntropyProbe(prefix=p).measure(net, rows(TEXTS[0]))) for p in (False, True))
    assert prefix.entropy_mean > whole.entropy_mean
    assert prefix.context == "prefix"
    assert prefix.evaluations == 6


def test_draws_are_averaged_and_their_spread_is_told():
    net = ExactDenoiser(TEXTS, 5)
    probe = EntropyProbe(t=0.5, draws=8)
    (m,) = probe.measure(net, rows(TEXTS[0]))
    one = [next(replace(probe, draws=1, seed=s).measure(net, rows(TEXTS[0]))) for s in range(2)]
    assert m.entropy_sd_draws > 0
    assert one[0].entropy_sd_draws is None
    assert one[0].entropy_mean != one[1].entropy_mean


def test_results_come_in_the_order_of_the_rows_whatever_their_lengths():
    net = ExactDenoiser(TEXTS, 5)
    mixed = rows([0, 1], [0, 1, 2, 3, 4, 0], [1], [0, 1], [4, 3, 2])
    for size in (None, 1, 2):
        measured = list(EntropyProbe(batch_size=size).measure(net, mixed))
        assert [m.tokens for m in measured] == [2, 6, 1, 2, 3]
        assert measured[0] == measured[3]


def test_layout_is_neither_corrupted_nor_counted():
    net = ExactDenoiser([[0, 1, 2, 3, 4, 4]], 5)
    probe = BasinProbe((0.9,), 0, restarts=40)
    (m,) = probe.measure(net, rows([0, 1, 2, 3, 0, 0], stop=4))
    assert m.tokens == m.entropy.tokens == 4
    assert m.deciding.corrupted_tokens <= 40 * 4
    assert m.deciding.returned == m.deciding.exact == 40


def test_a_lone_memory_has_a_basin_of_everything_and_noise_has_none():
    net = ExactDenoiser([[0, 1, 2, 3, 4, 0, 1, 2]], 5)
    times = tuple(time_at_level(net.schedule, level) for level in (0.25, 0.75))
    memory, noise = BasinProbe(times, 0).measure(net, rows([0, 1, 2, 3, 4, 0, 1, 2], [3, 3, 1, 0, 0, 2, 4, 4]))
    assert [level.returned for level in memory.levels] == [8, 8]
    assert [level.exact for level in memory.levels] == [8, 8]
    assert all(rate == 1 for level in memory.levels for rate in level.recovery_rates)
    assert [level.returned for level in noise.levels] == [0, 0]
    assert all(rate > 0 for rate in noise.levels[0].unstable_rates)
    assert memory.longest_recovered_run >= 2
    assert noise.entropy.surprise_mean > 5


def test_more_restarts_continue_the_first_ones():
    net = ExactDenoiser(TEXTS, 5)
    text = rows(TEXTS[1])
    few, many = BasinProbe((0.3, 0.6), 1, restarts=4), BasinProbe((0.3, 0.6), 1, restarts=10)
    (short,), (long,) = few.measure(net, text), many.measure(net, text)
    (extended,) = few.extend(net, text, [short], 6)
    assert extended.deciding == long.deciding
    assert extended.levels == short.levels


@pytest.mark.parametrize("tokens", [1, 12, 60, 100])
def test_the_restarts_of_one_row_are_run_some_at_a_time_with_the_same_result(monkeypatch, tokens):
    net = ExactDenoiser(TEXTS, 5)
    probe = BasinProbe((0.3, 0.6), 1, restarts=11, argmax=True)
    whole = list(probe.measure(net, rows(*TEXTS, [0, 1])))
    extended = probe.extend(net, rows(*TEXTS, [0, 1]), whole, 7)
    most = []

    class Counting(ExactDenoiser):
        def hidden(self, tokens, t, context=None):
            most.append(tokens.numel())
            return super().hidden(tokens, t, context)

    monkeypatch.setitem(batching.TRAJECTORY_TOKENS, "cpu", tokens)
    counting = Counting(TEXTS, 5)
    assert list(probe.measure(counting, rows(*TEXTS, [0, 1]))) == whole
    assert probe.extend(counting, rows(*TEXTS, [0, 1]), whole, 7) == extended
    assert max(most) <= max(tokens, 2 * 6) or max(most) == 4 * 6  # the texts themselves, for their entropy


def test_a_text_is_measured_alike_in_any_company():
    net = ExactDenoiser(TEXTS, 5)
    probe = BasinProbe((0.3, 0.6), 1, restarts=4)
    together = list(probe.measure(net, rows(*TEXTS, [0, 1])))
    for i, text in enumerate(TEXTS):
        (alone,) = replace(probe, batch_size=3).measure(net, rows(text))
        assert alone == together[i]


def test_a_row_whose_output_is_no_number_is_skipped_and_the_others_are_not():
    class Broken(ExactDenoiser):
        def hidden(self, tokens, t, context=None):
            out = super().hidden(tokens, t)
            out[(tokens == 3).any(1)] = torch.nan
            return out

    net = Broken([[0, 1, 2], [1, 1, 1]], 4)
    good, bad = EntropyProbe().measure(net, rows([0, 1, 2], [0, 3, 2]))
    assert good.tokens == 3
    assert isinstance(bad, Skipped) and "not a number" in bad.reason


def test_samples_depend_on_their_number_and_the_seed_only():
    net = ExactDenoiser(TEXTS, 5)
    many, few = list(generate(net, 20, Ancestral(16), 3)), list(generate(net, 7, Ancestral(16), 3, batch_size=2))
    assert [r.tokens for r in many[:7]] == [r.tokens for r in few]
    assert {r.tokens for r in many} <= {tuple(t) for t in TEXTS}
    assert [r.tokens for r in generate(net, 20, Ancestral(16), 4)] != [r.tokens for r in many]


TWENTY = torch.randint(0, 12, (20, 10), generator=torch.Generator().manual_seed(0)).tolist()


@pytest.mark.parametrize("texts", [TEXTS, TWENTY], ids=["few", "many"])
def test_the_law_check_tells_the_two_laws_apart(texts):
    vocab = 1 + max(max(t) for t in texts)
    loo = check_law(ExactDenoiser(texts, vocab), texts)
    assert loo.check is LawCheck.CONFIRMED
    assert abs(loo.contrast) < 1e-3
    posterior = check_law(ExactDenoiser(texts, vocab, law=Law.POSTERIOR), texts)
    assert posterior.check is LawCheck.CONTRADICTED


def test_a_network_that_copies_a_little_leaks():
    class Copying(ExactDenoiser):
        def hidden(self, tokens, t, context=None):
            out = torch.zeros(*tokens.shape, self.vocab_size)
            return out.scatter_(2, tokens[..., None], 0.6)

    leaking = check_law(Copying(TEXTS, 5))
    # The contrast of a network that adds 0.6 to the standing token's logit is 0.6.
    assert leaking.contrast == pytest.approx(0.6, abs=1e-6)
    assert leaking.check is LawCheck.LEAKS


@pytest.mark.parametrize(("flags", "longest"), [([], 0), ([0, 0], 0), ([1, 1, 0, 1], 2), ([0, 1, 1, 1], 3)])
def test_the_longest_run(flags, longest):
    assert longest_run(torch.tensor(flags, dtype=torch.bool)) == longest
