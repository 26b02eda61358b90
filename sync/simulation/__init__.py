"""The real engine in an imitated world: seeded people, faults and crashes, and an oracle that knows only the logs."""
