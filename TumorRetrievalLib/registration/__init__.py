"""From the patient to the atlas and back."""
