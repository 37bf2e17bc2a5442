"""What the words of a report mean; printed once, below it: a word and its meaning, `{others}` for what was compared."""

Legend = list[tuple[str, str]]

BASINS_LEGEND: Legend = [
    ("basin", "share of tokens that may be replaced while half of the restarts still return"),
    ("memorized", "returns, and stands out among {others}"),
    ("familiar", "stands out among {others}; whether it returns is denied or left open"),
    ("recoverable", "returns, and does not stand out among {others}"),
    ("no evidence", "not proof of absence"),
]
EXTRA_RESTARTS: Legend = [("31/32", "more restarts, where the first ones left open whether the text returns")]

EXTRACTION_LEGEND: Legend = [
    ("came back", "restarts that put the secret itself where there was noise, the rest of the text given"),
    ("rank", "of the secret among the distinct fillings, by how often each came back"),
    ("for 90 %", "restarts until the secret comes back at least once, nine times out of ten"),
    ("exposure", "bits by which the model prefers the text to {others}; there are not more than log2 (twins + 1)"),
    ("memorized", "the secret came back, and the text stands out among {others}"),
    ("familiar", "stands out among {others}; the secret did not come back"),
    ("recoverable", "the secret came back, and the text does not stand out among {others}: it may be a guess"),
    ("no evidence", "not proof of absence"),
]

ENTROPY_LEGEND: Legend = [
    ("familiar", "stands out among {others}. Whether it can be rebuilt: uddm-audit basins"),
    ("no evidence", "not proof of absence"),
]

NO_VERDICT = """
No verdict: without text the model cannot have seen, a wide basin or a low entropy may be ordinary. Add --heldout FILE
({m:,} texts need at least {needed:,} held-out ones; more are better), or --twins N for secrets."""

WINDOW_LEGEND: Legend = [("+96", "of a text longer than the model the strongest window, which begins at this token")]
TWINS_LEGEND: Legend = [
    (
        "twins",
        "copies of a text with its secret redrawn: q tells whether the model prefers the text to what it might have "
        "been. Exact if the secret was drawn at random",
    )
]
REFERENCE_LEGEND: Legend = [
    (
        "difference",
        "how much less the text surprises this model than the reference model: the score that decides. Fair if the "
        "reference model knows this kind of text as well as this one does",
    )
]

REGIME_LEGEND = """ Of 82 small models of which it is known, the rule called none the opposite of
 what it is. Intervals cover the choice of samples, not other training runs.
 This describes the model, not any text: to ask about a text, use
 uddm-audit basins MODEL FILE --heldout FILE"""

GATE_LEGEND: Legend = [
    ("failing", "a finding at or above the verdict that fails, which the baseline does not name"),
    ("known", "a finding that the baseline names: a person has accepted it"),
    ("expired", "a person had accepted it, until a day that is over: it fails again"),
    ("finding", "a text that stands out or returns, below the verdict that fails"),
    *((word, meaning) for word, meaning in BASINS_LEGEND if word != "basin"),
    ("inconclusive", "measured, and no verdict is possible: it has not passed"),
    ("skipped", "could not be measured: it has not passed"),
]
