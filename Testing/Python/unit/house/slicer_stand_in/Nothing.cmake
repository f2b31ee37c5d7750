# Packaging is not part of the stand-in.
