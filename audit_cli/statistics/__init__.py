"""Intervals, monotone fits, basins from curves, conformal p-values, false discovery control. Arrays of numbers in."""
