"""The networks: tokens and noise in, last hidden states out. They know nothing of files."""
