"""Similar cases on one page: pictures of the patient and of every hit at the same place, and why each one matched."""
