"""The panels of the module, one per file, and the logic objects behind them.

A panel shows and asks; its logic object decides, and knows no widget. Logic objects get what they talk to (the worker,
the scene's parameters) when they are made, so that tests can give them stand-ins.
"""
