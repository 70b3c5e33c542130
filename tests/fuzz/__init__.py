"""Bytes that nobody wrote, for what reads bytes from anywhere."""
