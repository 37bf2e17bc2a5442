"""From measurements to verdicts: recipes, comparison with held-out text, and the regime of a model."""
