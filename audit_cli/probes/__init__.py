"""Measurements of rows of tokens: entropy, basins, samples, the law check. They know no thresholds and no files."""
