"""Lightning: the job, the optimizer step, what is written down, and the part of each rank."""
