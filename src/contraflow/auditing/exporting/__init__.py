"""Failing questions of an audit for other tools: which ones, and in which format."""
