"""One module for each command; none imports anything heavy before it runs."""
