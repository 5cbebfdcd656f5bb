"""Table declarations, the graph of all tables, and the runner that refreshes them."""
