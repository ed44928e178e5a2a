"""What a node knows of every number, by its replica: to be compared, and judged by the oracle."""

from coordinator.core.state import CounterState
from simulation.model import Known

State = tuple[object, ...]


def state_of(state: CounterState) -> State:
    """Return all that matters of a state, to compare it with others."""
    return (state.head, *known_of(state), sorted(state.holds))


def known_of(state: CounterState) -> Known:
    """Return what a state says of every number."""
    free, void = ([n for run in runs for n in run.numbers] for runs in (state.gaps, state.void))
    reserved = sorted(hold.number for hold in state.holds)
    return Known(state.head.index, state.head.next, free, void, reserved)
