"""What a user can set: the error that says what to mend, and choices by name from a table."""
