"""Cleaning, chunking and splitting of text, with offsets into what is stored."""
