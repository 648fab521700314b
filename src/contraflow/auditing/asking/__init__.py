"""Questions to the control and to edited models, and what the answers say."""
