"""Measurements against a running demo; `manage.py bench` prints them. No test times anything."""
