"""What the words of a report mean; printed once, below it."""

BASINS_LEGEND = """
basin        share of tokens that may be replaced while half of the restarts still return
memorized    returns, and stands out among {others}
familiar     stands out among {others}; it does not return, or that is unclear
recoverable  returns, and does not stand out among {others}
no evidence  not proof of absence"""

ENTROPY_LEGEND = """
Judged by surprise, which separates better than entropy.
familiar     stands out among {others}. Whether it can be rebuilt: uddm-audit basins
no evidence  not proof of absence"""

NO_VERDICT = """
No verdict: without text the model cannot have seen, a wide basin or a low entropy may be ordinary. Add
--heldout FILE ({m:,} texts need at least {needed:,} held-out ones; more are better), or --twins N for secrets."""

WINDOW_LEGEND = "+96          of a text longer than the model the strongest window, which begins at this token"
TWINS_LEGEND = """twins        copies of a text with its secret redrawn: q tells whether the model prefers the text to
             what it might have been. Exact if the secret was drawn at random"""
REFERENCE_LEGEND = "judged by    how much less the text surprises this model than the reference model"

REGIME_LEGEND = """ Intervals cover the choice of samples, not other training runs. This describes the model, not any
 text: to ask about a text, use  uddm-audit basins MODEL FILE --heldout FILE"""
