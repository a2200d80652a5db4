"""The ``hopline`` command."""
