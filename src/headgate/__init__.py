"""The program: settings, command line, assembly."""

__version__ = "0.1.0"
