"""What the cockpit costs and how fast it answers, in a real pty beside real runs: `python -m tests.bench.cockpit`."""
