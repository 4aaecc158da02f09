"""Example news written for this project: headlines with labels, and a stream with one planted surge."""
