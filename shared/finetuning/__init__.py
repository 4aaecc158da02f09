"""Training of backbones with heads; the only room that loads torch."""
