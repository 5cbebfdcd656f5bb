"""Reference tables: small tables of public facts that are part of the library, and their readers."""
