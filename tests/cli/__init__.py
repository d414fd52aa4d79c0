"""One file per command. A package, as other folders have files of the same names."""
