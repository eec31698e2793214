"""Double wells along imaginary modes: directions, E(Q), its fit and its levels."""
