"""uddm-audit: does a uniform-state diffusion language model memorize its training text?"""

__version__ = "0.1.0"
