"""A guestbook: one model, one form, one page."""
