"""Times backends side by side: ``roialign bench compare``."""
