"""Models of customers. The engine aggregates rows to purchase histories; the driver fits and applies models."""
