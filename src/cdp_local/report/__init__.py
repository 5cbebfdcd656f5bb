"""The report: an HTML page that shows the dashboard of the bundle, with data from the tables on this machine."""
