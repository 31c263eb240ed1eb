"""From the ops of a graph to snapshots: the solver's hands."""
