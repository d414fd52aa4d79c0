"""What all tests share. It also puts this folder on the import path, for `tables`."""
