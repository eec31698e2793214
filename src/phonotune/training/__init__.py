"""Fine-tuning: strategies as plans, one loop, checkpoints."""
