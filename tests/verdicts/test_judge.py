"""Every cell of the verdict table, what cannot be judged, and how many findings are false."""

from dataclasses import dataclass

import numpy as np
import pytest

from audit_cli.records import Comparability, LawCheck, Verdict
from audit_cli.statistics.conformal import simes
from audit_cli.verdicts import judge as rules
from audit_cli.verdicts.comparability import Grade
from audit_cli.verdicts.judge import (
    LAW_CONTRADICTED,
    NO_TWINS,
    NONE_OF_THIS_LENGTH,
    NOT_COMPARED,
    TOO_FEW,
    UNCLEAR,
    UNLIKE,
    Kinds,
    Parts,
    judge_twins,
)
from audit_cli.verdicts.recipes import BASIN_EXCESS, EXCESS, SURPRISE, Recipe

HELD = [float(i) for i in range(100)]  # 0 to 99
HIGH, MIDDLE = 1000.0, 50.5  # p = 1/101 and 50/101
FDR = 0.05
WITHOUT_LAW = Recipe("needs no law", uses_law=False)


@dataclass(frozen=True)
class Scored:
    """A text of one part."""

    score: float
    returns: bool | None
    group: int


def parts(texts):
    returned = [UNCLEAR if t.returns is None else int(t.returns) for t in texts]
    columns = range(len(texts)), [t.score for t in texts], returned, [t.group for t in texts]
    return Parts(*(np.array(column, dtype=kind) for column, kind in zip(columns, (int, float, int, int), strict=True)))


def judge(texts, *how):
    found = rules.judge(parts(texts), *how)
    return [found[i] for i in range(len(found))]


def unjudged(texts, recipe):
    found = rules.unjudged(parts(texts), recipe)
    assert found.verdicts() == []
    return [found[i] for i in range(len(found))]


def test_a_constant_score_tells_nothing_unless_it_is_a_floor():
    texts = [Scored(1.0, None, 0), Scored(1.0, True, 0)]
    for recipe, expected in ((SURPRISE, Verdict.INCONCLUSIVE), (EXCESS, None)):
        verdicts = [j.verdict for j in judge(texts, [[1.0] * 200], recipe, FDR, None)]
        if expected:
            assert verdicts == [expected] * 2
        else:
            assert verdicts == [Verdict.NO_EVIDENCE, Verdict.RECOVERABLE]
    # One score that differs, of a text or of a reference, and the others can be judged.
    assert judge(texts, [[1.0] * 199 + [0.5]], SURPRISE, FDR, None)[0].verdict is Verdict.NO_EVIDENCE


def judge_one(score, returns, held=HELD, recipe=SURPRISE, law=LawCheck.CONFIRMED, fdr=FDR):
    return judge([Scored(score, returns, 0)], [held], recipe, fdr, law)[0]


@pytest.mark.parametrize(
    ("returns", "score", "verdict"),
    [
        (True, HIGH, Verdict.MEMORIZED),
        (True, MIDDLE, Verdict.RECOVERABLE),
        (False, HIGH, Verdict.FAMILIAR),
        (False, MIDDLE, Verdict.NO_EVIDENCE),
        (None, HIGH, Verdict.FAMILIAR),
        (None, MIDDLE, Verdict.NO_EVIDENCE),
    ],
)
def test_the_verdict_table(returns, score, verdict):
    judged = judge_one(score, returns)
    assert (judged.verdict, judged.reason) == (verdict, "")
    assert judged.p_value == (1 / 101 if score == HIGH else 50 / 101)
    assert judged.q_value == pytest.approx(judged.p_value)  # one text: nothing to adjust for
    assert (judged.references, judged.score, judged.recipe) == (100, score, "surprise")


@pytest.mark.parametrize("returns", [True, False, None])
@pytest.mark.parametrize("score", [HIGH, MIDDLE])
def test_a_contradicted_law_leaves_every_cell_inconclusive(returns, score):
    judged = judge_one(score, returns, law=LawCheck.CONTRADICTED)
    assert (judged.verdict, judged.reason) == (Verdict.INCONCLUSIVE, LAW_CONTRADICTED)


@pytest.mark.parametrize("law", [LawCheck.CONFIRMED, LawCheck.LEAKS, None])
def test_a_law_that_is_not_contradicted_does_not_stop_a_verdict(law):
    assert judge_one(HIGH, True, law=law).verdict is Verdict.MEMORIZED


def test_a_score_that_needs_no_law_is_judged_under_any():
    assert judge_one(HIGH, True, recipe=WITHOUT_LAW, law=LawCheck.CONTRADICTED).verdict is Verdict.MEMORIZED
    assert judge_one(MIDDLE, False, recipe=WITHOUT_LAW, law=LawCheck.CONTRADICTED).verdict is Verdict.NO_EVIDENCE


def test_both_recipes_of_the_program_need_the_law():
    assert SURPRISE.uses_law
    assert BASIN_EXCESS.uses_law


@pytest.mark.parametrize("returns", [True, False, None])
def test_a_score_above_too_few_references_is_inconclusive(returns):
    # 18 references: p = 1/19 > .05; 19: p = 1/20.
    too_few = judge_one(HIGH, returns, held=HELD[:18])
    assert (too_few.verdict, too_few.reason) == (Verdict.INCONCLUSIVE, TOO_FEW)
    assert judge_one(HIGH, returns, held=HELD[:19]).verdict is (Verdict.MEMORIZED if returns else Verdict.FAMILIAR)


def test_too_few_means_above_all_references_to_the_digits_that_are_compared():
    held = [0.0, 1.0]
    assert judge_one(1.0, None, held).verdict is Verdict.NO_EVIDENCE
    assert judge_one(1.0000004, None, held).verdict is Verdict.NO_EVIDENCE
    assert judge_one(1.00001, None, held).verdict is Verdict.INCONCLUSIVE


def test_a_text_without_references_of_its_length_is_inconclusive_and_counts_for_nobody():
    texts = [Scored(HIGH, True, 0), Scored(HIGH, True, 1)]
    alone, none = judge(texts, [HELD, []], SURPRISE, FDR, None)
    assert (none.verdict, none.reason, none.references) == (Verdict.INCONCLUSIVE, NONE_OF_THIS_LENGTH, 0)
    assert (none.p_value, none.p_value_upper95, none.q_value) == (None, None, None)
    assert alone.q_value == pytest.approx(1 / 101)


def test_without_heldout_text_there_is_a_score_and_no_verdict():
    for judged in unjudged([Scored(HIGH, True, 0), Scored(MIDDLE, None, 0)], SURPRISE):
        assert (judged.verdict, judged.reason) == (None, NOT_COMPARED)
        assert (judged.p_value, judged.q_value, judged.references) == (None, None, None)


def test_texts_are_compared_with_their_own_group_and_adjusted_together():
    texts = [Scored(10.5, None, 0), Scored(10.5, None, 1), Scored(-1.0, None, 1)]
    judged = judge(texts, [[float(i) for i in range(10)], HELD], SURPRISE, FDR, None)
    # Above all of 10; above 11 of 100; below all 100.
    assert [j.p_value for j in judged] == pytest.approx([1 / 11, 90 / 101, 1.0])
    assert [j.references for j in judged] == [10, 100, 100]
    assert [j.q_value for j in judged] == pytest.approx([3 / 11, 1.0, 1.0])


def test_more_texts_need_more_references():
    texts = [Scored(HIGH, True, 0), *(Scored(MIDDLE, False, 0) for _ in range(5))]
    for references, verdict in ((119, Verdict.MEMORIZED), (118, Verdict.INCONCLUSIVE)):
        assert judge(texts, [np.linspace(0, 99, references)], SURPRISE, FDR, None)[0].verdict is verdict


def test_nothing_to_judge_gives_no_judgements():
    assert judge([], [HELD], SURPRISE, FDR, None) == []


@pytest.mark.parametrize("fdr", [0.05, 0.2])
def test_the_share_of_false_findings_stays_at_its_rate(fdr):
    """40 texts, 10 of them known to the model by 3.5 standard deviations; two groups of 600 references each."""
    rng = np.random.default_rng(7)
    runs, known = 150, 10
    false_share, found = [], 0
    for _ in range(runs):
        scores = rng.normal(size=40)
        scores[:known] += 3.5
        texts = [Scored(float(s), bool(rng.integers(2)), i % 2) for i, s in enumerate(scores)]
        held = rng.normal(size=(2, 600))
        named = [j.verdict in (Verdict.MEMORIZED, Verdict.FAMILIAR) for j in judge(texts, held, SURPRISE, fdr, None)]
        found += sum(named[:known])
        false_share.append(sum(named[known:]) / max(1, sum(named)))
    # BH keeps the mean at 3/4 of fdr (30 of 40 are innocent), so q + 2 standard errors is never met by chance; and it
    # is not met by finding nothing: 3.5 sigma against some 2.5 sigma of the threshold finds most.
    assert np.mean(false_share) <= fdr + 2 * np.std(false_share, ddof=1) / np.sqrt(runs)
    assert found > 0.6 * known * runs
    assert np.mean(false_share) > 0


def test_where_nothing_is_memorized_an_audit_names_a_text_no_more_often_than_its_rate():
    rng = np.random.default_rng(8)
    runs, fdr = 400, 0.1
    named = 0
    for _ in range(runs):
        texts = [Scored(float(s), None, 0) for s in rng.normal(size=10)]
        verdicts = [j.verdict for j in judge(texts, [rng.normal(size=199)], SURPRISE, fdr, None)]
        named += Verdict.FAMILIAR in verdicts
    # Binomial(400, .1): 4 standard errors, false alarm 3e-5; fixed seed.
    assert named / runs <= fdr + 4 * np.sqrt(fdr * (1 - fdr) / runs)
    assert named > 0


def test_a_long_text_is_judged_by_simes_over_its_windows_and_shown_by_its_strongest():
    windows = Parts(
        np.array([0, 0, 0, 1]), np.array([50.5, 98.5, 97.5, 10.5]), np.array([0, 1, 0, 0]), np.zeros(4, int)
    )
    found = rules.judge(windows, [HELD], SURPRISE, FDR, None)
    assert len(found) == 2
    long, short = found[0], found[1]
    assert long.p_value == pytest.approx(simes(np.array([50, 2, 3]) / 101))
    assert long.p_value_upper95 is None
    assert (long.score, windows.worst().tolist()) == (98.5, [1, 3])
    assert short.p_value == pytest.approx(90 / 101)


def test_the_first_of_equally_strong_windows_is_shown():
    windows = Parts(np.array([0, 0, 1, 1]), np.array([1.0, 1.0, 0.0, 2.0]), np.zeros(4, int), np.zeros(4, int))
    assert windows.worst().tolist() == [0, 3]
    assert windows.starts().tolist() == [0, 2]


def test_a_text_among_its_twins():
    texts = parts([Scored(-0.1, True, 0), Scored(-2.0, False, 0), Scored(-1.0, None, 0)])
    found = judge_twins(texts, np.array([0, 40, 0]), np.array([99, 99, 0]), SURPRISE, FDR, LawCheck.CONFIRMED)
    assert [found[i].verdict for i in range(3)] == [Verdict.MEMORIZED, Verdict.NO_EVIDENCE, Verdict.INCONCLUSIVE]
    assert [found[i].p_value for i in range(3)] == [1 / 100, 41 / 100, None]
    assert (found[2].reason, found[2].references) == (NO_TWINS, 0)
    # BH over the two that have twins.
    assert found[0].q_value == pytest.approx(0.02)
    contradicted = judge_twins(texts, np.array([0, 40, 0]), np.array([99, 99, 0]), SURPRISE, FDR, LawCheck.CONTRADICTED)
    assert contradicted[0].verdict is Verdict.INCONCLUSIVE


def kinds(*grades, binding=True):
    return Kinds(np.arange(len(grades)), [Grade(Comparability(grade), "more digits") for grade in grades], binding)


def test_a_text_of_another_kind_is_neither_found_nor_cleared_and_makes_no_room_for_others():
    texts = [Scored(HIGH, True, 0), Scored(MIDDLE, False, 0), Scored(98.5, True, 0)]
    as_they_are = judge(texts, [HELD], SURPRISE, FDR, None, kinds("shifted", "shifted", "comparable"))
    assert [j.verdict for j in as_they_are] == [Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE, Verdict.MEMORIZED]
    assert [j.comparability for j in as_they_are] == ["shifted", "shifted", "comparable"]
    assert [j.q_value for j in as_they_are] == [None, None, pytest.approx(2 / 101)]
    assert as_they_are[0].p_value == pytest.approx(1 / 101)
    assert as_they_are[0].reason == as_they_are[1].reason == UNLIKE.format("more digits")
    assert as_they_are[2].reason == ""


def test_an_unchecked_text_is_judged():
    found = judge([Scored(HIGH, True, 0)], [HELD], SURPRISE, FDR, None, kinds("not checkable"))[0]
    assert (found.verdict, found.comparability) == (Verdict.MEMORIZED, Comparability.NOT_CHECKABLE)


def test_a_score_that_takes_out_how_hard_a_text_is_binds_no_verdict_to_its_kind():
    found = judge([Scored(HIGH, True, 0)], [HELD], SURPRISE, FDR, None, kinds("shifted", binding=False))[0]
    assert (found.verdict, found.comparability, found.reason) == (Verdict.MEMORIZED, Comparability.SHIFTED, "")


def test_a_text_that_nothing_is_as_long_as_says_what_else_sets_it_apart():
    found = judge([Scored(HIGH, True, 0)], [[]], SURPRISE, FDR, None, kinds("shifted"))[0]
    assert found.reason == f"{NONE_OF_THIS_LENGTH}; {UNLIKE.format('more digits')}"
    assert found.references == 0


def test_among_twins_no_kind_is_needed():
    found = judge_twins(parts([Scored(-0.1, True, 0)]), np.array([0]), np.array([99]), SURPRISE, FDR, None)[0]
    assert found.comparability is Comparability.NOT_NEEDED
