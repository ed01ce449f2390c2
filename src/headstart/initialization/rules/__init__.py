"""The rules of initialization, one a file."""
