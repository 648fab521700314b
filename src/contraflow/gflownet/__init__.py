"""The mathematics: objectives and health numbers, pure functions of tensors."""
