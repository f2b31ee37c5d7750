"""One trainer for all networks, and one recipe per published training."""
