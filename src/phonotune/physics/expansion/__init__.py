"""Thermal expansion: equations of state, the quasi-harmonic approximation, Slack's conductivity."""
