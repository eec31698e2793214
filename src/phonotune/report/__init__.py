"""Documents as figures, and as one page that opens anywhere."""
