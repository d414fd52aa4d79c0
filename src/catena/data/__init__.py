"""Rows and votes, in and out of files and frames."""
