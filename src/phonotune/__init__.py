"""Fine-tune MACE foundation models for phonons, in one jobflow DAG."""
