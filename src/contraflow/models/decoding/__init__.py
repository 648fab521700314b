"""Texts written token by token: in an eager loop, or by steps of fixed shape."""
