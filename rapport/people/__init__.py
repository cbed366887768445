"""The people of a project: whose accounts are one, whom a batch decides on, what is known of one, and erasing them."""
