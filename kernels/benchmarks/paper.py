"""Sizes of arXiv 2604.26841: its vocabulary, its length, and its networks as width, blocks, heads."""

VOCAB, LENGTH = 30522, 128
SIZES = {"tiny": (256, 8, 8), "small": (768, 12, 12), "medium": (1024, 24, 16)}
# The share of tokens that noise has redrawn where our measurements begin, the middle of the paper's.
LEVEL = 0.5
