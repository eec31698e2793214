"""Plan structures, analyse answers: physics without an engine."""
