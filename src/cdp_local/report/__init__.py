"""The dashboard as a page: the datasets and widgets of the deployed one, over the tables on this machine."""
