"""General helpers: files, progress bars, server addresses, time budget, memory."""
