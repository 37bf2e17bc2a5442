"""Writing results out: terminal, CSV, JSON Lines. Writes to the stream it is given; knows no networks."""
