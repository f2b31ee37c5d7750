"""Simulated tumor growth: the solver, a database of its tumors, and the search for the one that fits a patient."""
