"""Files, progress bars, addresses, time and memory: what any program needs."""
