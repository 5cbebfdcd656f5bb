"""Customer models. The engine aggregates purchases to histories; the driver fits models and computes predictions."""
