"""One module for each CRM; `leads.py` decides for all of them, `notes.py` says what a call was."""
