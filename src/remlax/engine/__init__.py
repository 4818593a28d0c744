"""Many data sets at once: batches, chunks, devices, compiled programs, restarts."""
