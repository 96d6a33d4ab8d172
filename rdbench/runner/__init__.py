"""From options to records: sweeps, jobs, workers, executors, and terminal output."""
