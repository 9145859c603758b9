"""One file for each version of the tables, `vNNNN_*.py`."""
