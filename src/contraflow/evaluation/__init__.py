"""What a run is judged by: text checks, diversity, metrics with intervals, and the report."""
