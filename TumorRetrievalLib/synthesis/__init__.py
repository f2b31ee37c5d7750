"""Labelled training scans made from an atlas: no patient is needed, every mask is exact, and a seed says it all."""
