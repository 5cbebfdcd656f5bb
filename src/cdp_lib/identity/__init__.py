"""Identity resolution: the persons behind the records of all sources."""
