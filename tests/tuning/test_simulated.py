"""The tuner against simulated servers: noise, checkpoints, full lines, and curves of a file that it never reads."""

from __future__ import annotations

from itertools import pairwise

import pytest

from engine.tuning.prober import GAP_S
from tests.tuning.simulator import Simulation, n_seeds, shapes

FOUND_S = 60.0
GOOD = 0.9
"""Of the best rate."""
POOR = 0.65
"""What no seed may come down to."""
STEADY_S = 75.0
"""The minute begins with the first window."""
QUICK = 50


def judged(seed: int) -> Simulation:
    """A simulated run of which everything was as it must be, but perhaps for the size found."""
    simulation = Simulation(seed).run()
    assert all(simulation.low <= size <= simulation.high for _, size in simulation.sizes), seed
    changes = simulation.changes(since=STEADY_S)
    gaps = [later - sooner for sooner, later in pairwise(changes)]
    assert not gaps or min(gaps) >= GAP_S, (seed, changes)
    return simulation


@pytest.mark.parametrize("shape", range(len(shapes())), ids=lambda number: shapes()[number].name)
def test_within_a_minute_the_size_is_within_a_tenth_of_the_best(shape: int) -> None:
    for seed in range(shape, QUICK, len(shapes())):
        simulation = judged(seed)
        assert simulation.efficiency(FOUND_S) >= GOOD, (seed, simulation.sizes)


@pytest.mark.slow
def test_so_it_is_for_ninety_nine_seeds_of_a_hundred() -> None:
    found = {seed: judged(seed).efficiency(FOUND_S) for seed in range(n_seeds())}
    missed = [seed for seed, efficiency in found.items() if efficiency < GOOD]
    assert len(missed) <= n_seeds() // 100, missed
    assert min(found.values()) > POOR, "what noise hides is not far from the best"
