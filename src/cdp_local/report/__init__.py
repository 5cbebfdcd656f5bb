"""The report: the deployed dashboard as an HTML page, with data from the tables on this machine."""
