"""GFlowNet objectives and diagnostics: pure functions of tensors."""
