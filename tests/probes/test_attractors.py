"""Texts as attractors, held against brute force over tiny worlds."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.diffusion.corruption import flipped_starts
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.samplers import Attractor
from audit_cli.diffusion.schedules import T_MIN
from audit_cli.probes.attractors import AttractorProbe, applied, next_flips, orbits
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.probes.retrieval import RetrievalProbe
from audit_cli.records import Candidate, FlipCount, Row, Skipped
from tests.exact import ExactDenoiser, TableDenoiser

# Three texts over four tokens.
TEXTS = [(0, 1, 2, 3, 0), (1, 1, 0, 2, 2), (3, 3, 3, 0, 1)]
VOCAB = 4


def row(tokens, start=0, stop=None):
    return Row(Candidate("f", 1, "f:1"), tuple(tokens), start, len(tokens) if stop is None else stop)


def conditionals(tokens, t, texts=TEXTS, vocab=VOCAB):
    """p(token i | all others) by Bayes' rule over equally likely texts, in plain Python: a list of V a position."""
    alpha = 1 - (1 - 1e-3) * t
    out = []
    for i in range(len(tokens)):
        mass = [0.0] * vocab
        for text in texts:
            others = [j for j in range(len(tokens)) if j != i]
            mass[text[i]] += math.prod(alpha * (text[j] == tokens[j]) + (1 - alpha) / vocab for j in others)
        out.append([m / sum(mass) for m in mass])
    return out


def stepped(tokens, t, texts=TEXTS, vocab=VOCAB):
    return tuple(p.index(max(p)) for p in conditionals(tokens, t, texts, vocab))


def ended(tokens, t, texts=TEXTS, vocab=VOCAB):
    """Where the attractor dynamics ends: the first step at time t, the others at T_MIN. A cycle's states, as a set."""
    state, seen = stepped(tokens, t, texts, vocab), []
    while state not in seen:
        seen.append(state)
        state = stepped(state, T_MIN, texts, vocab)
    return set(seen[seen.index(state) :])


def flipped(tokens, k, vocab=VOCAB):
    """Every text that differs from this one in exactly k tokens."""
    for places in itertools.combinations(range(len(tokens)), k):
        for new in itertools.product(*([v for v in range(vocab) if v != tokens[i]] for i in places)):
            changed = dict(zip(places, new, strict=True))
            yield tuple(changed.get(i, token) for i, token in enumerate(tokens))


def measured(net, rows, **how):
    return list(AttractorProbe(**how).measure(net, [row(r) if isinstance(r, tuple) else r for r in rows]))


def test_energy_and_margins_are_those_of_bayes_rule():
    net = ExactDenoiser(TEXTS, VOCAB)
    for tokens in [*TEXTS, (0, 1, 2, 3, 2), (1, 1, 1, 1, 1)]:
        (found,) = measured(net, [tokens])
        # The exact network has no probability below 1e-30.
        logs = [[math.log(max(p, 1e-30)) for p in each] for each in conditionals(tokens, T_MIN)]
        margins = [
            each[own] - max(p for v, p in enumerate(each) if v != own) for each, own in zip(logs, tokens, strict=True)
        ]
        assert found.energy == pytest.approx(-sum(each[own] for each, own in zip(logs, tokens, strict=True)), abs=1e-4)
        assert found.smallest_margin == pytest.approx(min(margins), abs=1e-4)
        assert margins[found.margin_position] == pytest.approx(min(margins), abs=1e-4)
        best = max(p for v, p in enumerate(logs[found.margin_position]) if v != tokens[found.margin_position])
        assert logs[found.margin_position][found.rival] == pytest.approx(best, abs=1e-4)
        assert found.rival != tokens[found.margin_position]
        assert found.energy_mean == found.energy / 5


def test_the_energy_of_a_token_is_the_surprise_that_entropy_measures(memorizing):
    rows = memorizing.rows(Candidate(text="Who fed thee in the wilderness"))
    (found,), (entropy,) = (list(p().measure(memorizing.denoiser, rows)) for p in (AttractorProbe, EntropyProbe))
    assert found.energy_mean == pytest.approx(entropy.surprise_mean, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_fixed_points_and_ends_of_every_state_are_those_of_the_map(seed):
    net = TableDenoiser(3, 4, seed)
    states = list(itertools.product(range(3), repeat=4))
    logits = net.base + T_MIN * net.slope

    def step(state):
        return tuple(logits[int(net.state(torch.tensor([state])))].argmax(dim=1).tolist())

    for state, found in zip(states, measured(net, states, restarts=1), strict=True):
        path = [state]
        while (new := step(path[-1])) not in path:
            path.append(new)
        cycle = path[path.index(new) :]
        assert found.changed == sum(a != b for a, b in zip(state, step(state), strict=True))
        assert found.fixed_point == (step(state) == state) == (found.survived is not None)
        assert found.fixed_point == (found.smallest_margin > 0)
        assert found.period == len(cycle)
        assert found.distance == min(sum(a != b for a, b in zip(state, other, strict=True)) for other in cycle)


def test_the_map_s_ends_are_those_of_the_attractor_sampler_and_of_retrieval():
    net = TableDenoiser(3, 4, seed=1)
    states = torch.tensor(list(itertools.product(range(3), repeat=4)))
    free = torch.ones_like(states, dtype=torch.bool)
    starts = replace(
        flipped_starts(net, states, torch.zeros(81, dtype=torch.int64), range(1), 0, free),
        time=torch.full((81,), T_MIN, dtype=torch.float64),
    )
    ends = Attractor(64).run(net, starts, 8).tokens
    found = orbits(net, states, free, 8)
    assert {orbit.period for orbit in found} >= {1, 2}
    after = applied(net, ends, free, 8)
    for state, end, new, orbit in zip(states, ends, after, found, strict=True):
        if orbit.period == 1:
            assert torch.equal(end, new) and orbit.distance == int((state != end).sum())
    # Nothing moves in a run of no iterations: every state is its own ending, marked as the probe marks it.
    still = RetrievalProbe(1, Attractor(0), freeze=True)
    for state, new in zip(states, applied(net, states, free, 8), strict=True):
        ((ending,), _) = still.measure(net, row(state.tolist()), range(4))
        landed = torch.tensor([ending.row.tokens])
        assert ending.fixed_point == torch.equal(applied(net, landed, free[:1], 8), landed)
        assert torch.equal(new, applied(net, state[None], free[:1], 8)[0])


def test_of_equally_probable_tokens_the_smallest_id_is_the_fixed_point():
    net = ExactDenoiser([(0, 0), (1, 1), (2, 2)], 3)
    net.hidden = lambda tokens, t, context=None: torch.zeros(*tokens.shape, 3)
    zeros, ones = measured(net, [(0, 0), (1, 1)], restarts=1)
    assert (zeros.smallest_margin, ones.smallest_margin) == (0, 0)
    assert zeros.fixed_point and not ones.fixed_point and (ones.rival, zeros.rival) == (0, 1)
    assert (ones.distance, ones.period, ones.survived) == (2, 1, None)


def test_a_basin_that_majority_decides_has_the_size_that_counting_gives():
    # Of eight tokens each sees seven others: up to three flips leave the majority of those with the text. Of four the
    # untouched see four wrong ones, all tokens turn, and turn again.
    texts = [(0,) * 8, (1,) * 8]
    for found in measured(ExactDenoiser(texts, 2), texts, restarts=16):
        assert found.tried == (FlipCount(1, 16), FlipCount(2, 16), FlipCount(3, 16), FlipCount(4, 0))
        assert (found.survived, found.returned(3), found.returned(4), found.returned(5)) == (3, 16, 0, None)
        assert found.depth[0] == 3
    (found,) = measured(ExactDenoiser(texts, 2), [(0, 1, 0, 1, 0, 1, 0, 1)])
    assert (found.survived, found.tried, found.changed, found.period, found.distance) == (None, (), 8, 2, 0)


def test_draws_return_as_often_as_all_flips_of_that_number_do():
    net, restarts = ExactDenoiser(TEXTS, VOCAB), 400
    for text, found in zip(TEXTS, measured(net, TEXTS, restarts=restarts), strict=True):
        exact = {}
        for k in range(1, 6):
            ends = [ended(other, k / 5 / (1 - 1e-3)) for other in flipped(text, k)]
            exact[k] = sum(end == {text} for end in ends) / len(ends)
        assert len(found.tried) >= 3
        for count in found.tried:
            p = exact[count.flips]
            assert abs(count.returned / restarts - p) <= 4 * math.sqrt(p * (1 - p) / restarts)
        clear = [k for k in exact if abs(exact[k] - 0.5) > 0.1]
        assert found.survived in clear or found.survived + 1 in clear
        assert all(exact[k] >= 0.5 for k in clear if k <= found.survived)
        assert found.survived + 1 not in clear or exact[found.survived + 1] < 0.5


def test_a_fixed_point_that_no_flip_survives_survives_none():
    # Every state but one text is sent to another text.
    net = TableDenoiser(2, 3, seed=0)
    net.slope.zero_()
    net.base[:] = torch.tensor([5.0, 0.0])
    net.base[int(net.state(torch.tensor([[1, 1, 1]])))] = torch.tensor([0.0, 5.0])
    deep, lonely = measured(net, [(0, 0, 0), (1, 1, 1)], restarts=8)
    assert lonely.fixed_point and (lonely.survived, lonely.tried) == (0, (FlipCount(1, 0),))
    # All three flipped, it is the lonely one.
    assert (deep.survived, deep.returned(3)) == (2, 0)


@given(st.integers(1, 300), st.data())
@settings(deadline=None)
def test_the_search_finds_the_edge_in_few_rounds(tokens, data):
    edge = data.draw(st.integers(0, tokens))
    tried = []
    while (k := next_flips(tried, tokens, 16)) is not None:
        assert 1 <= k <= tokens and k not in {count.flips for count in tried}
        tried.append(FlipCount(k, data.draw(st.integers(8, 16) if k <= edge else st.integers(0, 7))))
    assert max((count.flips for count in tried if count.returned >= 8), default=0) == edge
    assert len(tried) <= 2 * tokens.bit_length() + 1


@given(st.integers(1, 40), st.data())
@settings(deadline=None)
def test_whatever_the_curve_all_fewer_flips_that_were_tried_are_survived_and_one_more_is_not(tokens, data):
    tried = []
    while (k := next_flips(tried, tokens, 3)) is not None:
        tried.append(FlipCount(k, data.draw(st.integers(0, 3))))
    held = {count.flips for count in tried if 2 * count.returned >= 3}
    most = max(held, default=0)
    assert all(count.flips in held for count in tried if count.flips <= most)
    assert most == tokens or most + 1 in {count.flips for count in tried} - held


@given(st.integers(0, 2**40), st.data())
@settings(deadline=None, max_examples=40)
def test_flips_are_nested_and_change_exactly_so_many_free_tokens(seed, data):
    net = TableDenoiser(5, 1, noise_tokens=[4, 0, 3, 1])
    length = data.draw(st.integers(2, 12))
    clean = torch.tensor([data.draw(st.lists(st.integers(0, 4), min_size=length, max_size=length))])
    free = torch.zeros(1, length, dtype=torch.bool)
    start = data.draw(st.integers(0, length - 1))
    free[0, start:] = True
    n = length - start
    before = clean.expand(3, length)
    for k in range(n + 1):
        starts = flipped_starts(net, clean, torch.tensor([k]), range(3), seed, free)
        changed = starts.tokens != clean
        assert changed.sum(dim=1).tolist() == [k] * 3 and not bool((changed & ~free).any())
        assert set(starts.tokens[changed].tolist()) <= {0, 1, 3, 4}
        kept = before != clean
        assert torch.equal(starts.tokens[kept], before[kept])
        assert net.schedule.alpha(starts.time).tolist() == pytest.approx([max(1 - k / n, 1e-3)] * 3, abs=2e-5)
        before = starts.tokens


def test_flips_are_uniform_over_positions_and_over_the_other_tokens():
    net = TableDenoiser(5, 1, noise_tokens=[0, 1, 3, 4])
    clean = torch.tensor([[1, 2, 4, 0, 3, 3]])
    draws = 6000
    starts = flipped_starts(net, clean, torch.tensor([2]), range(draws), 7, torch.ones(1, 6, dtype=torch.bool))
    changed = starts.tokens != clean
    sigma = math.sqrt(draws / 3 * 2 / 3)
    assert (changed.sum(dim=0) - draws / 3).abs().max() < 4.5 * sigma
    for i, own in enumerate(clean[0].tolist()):
        new = starts.tokens[changed[:, i], i]
        others = [v for v in (0, 1, 3, 4) if v != own]
        share = torch.stack([(new == v).double().mean() for v in others])
        assert share.sum() == pytest.approx(1)
        assert (share - 1 / len(others)).abs().max() < 4.5 * math.sqrt(0.25 / len(new))


def test_a_result_depends_neither_on_the_batch_nor_on_other_texts():
    net = TableDenoiser(3, 4, seed=2)
    states = list(itertools.product(range(3), repeat=4))
    alone = [measured(net, [state], restarts=5)[0] for state in states]
    assert measured(net, states, restarts=5) == alone
    assert measured(net, states[::-1], restarts=5, batch_size=7) == alone[::-1]
    assert measured(net, states, restarts=5, seed=1) != alone


def test_what_surrounds_a_text_is_never_changed_nor_counted():
    net, inner = ExactDenoiser(TEXTS, VOCAB), (1, 2, 3)
    seen, hidden = [], net.hidden
    net.hidden = lambda tokens, t, context=None: (seen.append(tokens.clone()), hidden(tokens, t))[1]
    (found,) = measured(net, [row(TEXTS[0], 1, 4)])
    assert (found.tokens, found.fixed_point, found.survived) == (3, True, found.survived)
    looked = torch.cat(seen)
    assert set(looked[:, 0].tolist()) == {0} and set(looked[:, 4].tolist()) == {0}
    assert bool((looked[:, 1:4] != torch.tensor(inner)).any())
    (whole,) = measured(net, [TEXTS[0]])
    assert found.energy < whole.energy and 0 <= found.margin_position < 3


def test_evaluations_are_those_that_the_network_made():
    net = TableDenoiser(3, 4, seed=3)
    for state in itertools.product(range(3), repeat=4):
        net.calls = 0
        (found,) = measured(net, [state], restarts=4)
        assert found.evaluations == net.calls


def broken(where):
    """The exact network, which gives no numbers for some rows."""
    net = ExactDenoiser(TEXTS, VOCAB)
    hidden = net.hidden

    def without(tokens, t, context=None):
        out = hidden(tokens, t)
        out[where(tokens, t)] = math.nan
        return out

    net.hidden = without
    return net


def test_a_text_of_which_the_network_gives_no_numbers_is_skipped_and_the_others_are_not():
    def is_the_odd_one(tokens, t):
        return (tokens == 2).all(dim=1)

    def is_the_second_with_one_flip(tokens, t):
        return (t > 0.1) & (t < 0.3) & (tokens == torch.tensor(TEXTS[1])).sum(dim=1).ge(4)

    texts = [TEXTS[0], (2,) * 5, *TEXTS[1:]]
    whole = measured(ExactDenoiser(TEXTS, VOCAB), texts)
    for where, gone, reason in (
        (is_the_odd_one, 1, "the network's output is not a number"),
        (is_the_second_with_one_flip, 2, "the network's logits are not finite"),
    ):
        found = measured(broken(where), texts)
        assert found[gone] == Skipped(row(texts[gone]).candidate, reason)
        assert [m for i, m in enumerate(found) if i != gone] == [m for i, m in enumerate(whole) if i != gone]
    none = measured(broken(lambda tokens, t: torch.ones(len(tokens), dtype=torch.bool)), texts)
    assert all(isinstance(each, Skipped) for each in none)


def test_a_posterior_law_has_no_attractors():
    with pytest.raises(ValueError, match="leave-one-out"):
        measured(ExactDenoiser(TEXTS, VOCAB, Law.POSTERIOR), TEXTS)


def test_a_text_of_one_token_is_measured():
    found = measured(ExactDenoiser([(2,), (2,), (0,)], 3), [(2,), (0,)], restarts=4)
    # Nothing else is there to tell it by: the more frequent token comes back to any flip.
    assert [(m.fixed_point, m.survived) for m in found] == [(True, 1), (False, None)]
    assert found[0].energy == pytest.approx(-math.log(2 / 3), abs=1e-6)
    assert found[0].smallest_margin == pytest.approx(math.log(2), abs=1e-6)


def test_a_row_that_is_in_no_cycle_yet_is_still_moving():
    # A state is read as a number, and the map adds one: a cycle of 32.
    net = TableDenoiser(2, 5)
    net.slope.zero_()
    for state in itertools.product(range(2), repeat=5):
        place = int(net.state(torch.tensor([state])))
        new = [(place + 1) % 32 >> i & 1 for i in range(5)]
        net.base[place] = torch.nn.functional.one_hot(torch.tensor(new), 2).float()
    tokens, free = torch.zeros(1, 5, dtype=torch.int64), torch.ones(1, 5, dtype=torch.bool)
    (whole,) = orbits(net, tokens, free, 1)
    assert (whole.period, whole.distance) == (32, 0)
    # After 20 = 0b10100 applications.
    (cut,) = orbits(net, tokens, free, 1, most=20)
    assert (cut.period, cut.distance, cut.evaluations) == (None, 2, 20)
