"""How a campaign is analysed: one long table of materials and models, and statistics over it."""
