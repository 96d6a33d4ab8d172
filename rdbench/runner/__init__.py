"""From what was asked to records: sweeps, jobs, workers, executors, and what the terminal shows."""
