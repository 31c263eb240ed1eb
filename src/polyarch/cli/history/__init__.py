"""`history`: records of builds, listed, shown, printed again, removed, and taken to other machines."""
