"""The command line and the offline flows: raw files in, live bundles out."""
