"""The papers' tables and ours, each made again by one command."""
