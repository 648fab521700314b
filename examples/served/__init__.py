"""A real server answers as the local model does: the packaged model, both ways."""
