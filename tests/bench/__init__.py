"""Measurements of speed and memory against the floor of the two servers and against other tools; see README.md."""
