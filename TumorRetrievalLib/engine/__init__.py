"""The few tasks that a user asks for, built from the rooms to the left."""
