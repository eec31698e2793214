"""Phase transitions: from imaginary modes to a tree of phases."""
