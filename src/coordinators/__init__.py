"""What lives longer than a request, and who owns it."""
