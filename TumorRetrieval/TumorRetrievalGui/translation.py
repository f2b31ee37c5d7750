"""`_`: the text of the user interface in the user's language."""

try:
    from slicer.i18n import tr as _
except ImportError:  # 3D Slicer before 5.4, and the wheel slicer-core, have no translations

    def _(text: str) -> str:
        """The text as it is."""
        return text


__all__ = ["_"]
