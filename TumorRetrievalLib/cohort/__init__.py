"""Cases, tumors, their labels, and how they are listed and divided."""
