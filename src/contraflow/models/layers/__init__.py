"""The layers of a backbone as a pass runs them: fewer kernels, the same results."""
