"""Schedules, corruption, reverse dynamics and likelihood bounds of uniform-state diffusion."""
