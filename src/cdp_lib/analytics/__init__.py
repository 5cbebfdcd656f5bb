"""Customer models. The engine aggregates purchases into histories; the driver fits models and computes predictions."""
