"""Models of customers. Rows are summed up in the engine; what is fitted and predicted is histories, on the driver."""
