"""VASP as a labeller: input sets, the label protocol, error handlers, what is verified after a run."""
