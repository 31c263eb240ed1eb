"""Why steps ran: what each was made of is kept, and compared with what it is made of the next time."""
