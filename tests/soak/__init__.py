"""The soak: random faults, from a printed seed, in real runs on real servers, and the whole oracle after each run."""
