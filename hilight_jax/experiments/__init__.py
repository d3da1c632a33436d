"""Tables of training runs, the claims that they test, and the page of results."""
