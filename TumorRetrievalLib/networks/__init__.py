"""The networks: one file per published network, shared blocks, losses and weights."""
