"""The steps of the sentiment flow: labelled rows, training and judging, feeding, working."""
