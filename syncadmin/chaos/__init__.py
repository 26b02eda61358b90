"""Real processes, people who edit all the time, and a nemesis that breaks what it can (docs/guarantees.md)."""
