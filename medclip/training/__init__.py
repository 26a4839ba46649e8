"""Training: one step, what is around it, and how it survives."""
