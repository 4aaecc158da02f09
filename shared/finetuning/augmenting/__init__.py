"""Changed copies of training rows that keep their label: how they are made, and how they are checked."""
