"""Models: foundations by verified name, adapters, batched evaluation and relaxation."""
