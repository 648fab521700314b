"""A run as a whole: built from its config, opened for use, kept in its folder."""
