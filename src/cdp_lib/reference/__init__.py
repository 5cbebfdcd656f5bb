"""Small tables of public facts that come with the library, and how they are read."""
